"""The HTTPS listeners, their limits, and the loop that keeps them current."""
