"""What RayWarden injects into pods."""
