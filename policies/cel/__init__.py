"""CEL expressions with a bound on their cost."""
