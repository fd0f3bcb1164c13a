"""Who may hold which certificate. Pure: X.509 in, X.509 out; time and randomness are arguments."""
