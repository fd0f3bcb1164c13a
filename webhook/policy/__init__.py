"""The policy file: read, watched, and its schema."""
