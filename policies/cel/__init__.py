"""CEL expressions with bounded cost."""
