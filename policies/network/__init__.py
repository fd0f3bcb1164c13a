"""Who can reach whom: NetworkPolicies read, judged and written."""
