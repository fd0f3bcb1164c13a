"""NetworkPolicies for the command line: for which cluster, as YAML, and adopted clusters."""
