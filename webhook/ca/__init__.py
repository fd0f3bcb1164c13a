"""The seed, the CAs derived from it, and their rotation."""
