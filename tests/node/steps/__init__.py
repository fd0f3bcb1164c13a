"""The steps of a run, one subject a file."""
