"""The program of the injected init container."""
