"""`raywarden connect`: certificate, forwarded ports and environment for a program outside."""
