"""One rule, one file, one id."""
