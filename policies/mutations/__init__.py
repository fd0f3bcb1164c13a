"""One default, one file, one id."""
