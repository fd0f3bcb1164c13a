"""Decides which pod may hold which certificate, and issues it.

Pure: X.509 in, X.509 out. Time and randomness are arguments.
"""
