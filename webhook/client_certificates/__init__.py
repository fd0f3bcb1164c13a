"""Certificates for people: who asks, whether they may, and a certificate of hours."""
