"""The seed, the CAs derived from it, RayWarden's serving certificate, and rotation."""
