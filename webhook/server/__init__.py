"""The HTTPS listeners, their limits, and the loop that keeps certificates and the seed current."""
