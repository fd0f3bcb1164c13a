"""What an injected pod carries."""
