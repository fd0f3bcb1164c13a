"""A pod's token and CSR in, its certificate out."""
