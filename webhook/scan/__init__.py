"""Reviews the objects of a running cluster as they are stored."""
