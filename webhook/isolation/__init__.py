"""Network isolation of RayClusters: which NetworkPolicies they have, and who writes them."""
