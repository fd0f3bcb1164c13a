"""Rules and mutations as admission policies that the API server evaluates itself."""
