"""Recognizes secrets that must never be printed: private keys and tokens."""

import re

_SECRETS = {
    # The header alone is not a secret: messages and tests mention it.
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(\s|\\n)+[A-Za-z0-9+/]{16}"),
    "a service account token": re.compile(
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    ),
    "a bearer token": re.compile(r"[Bb]earer [A-Za-z0-9_-]{32,}"),
}


def leaked(*texts: str) -> str | None:
    """The kind of secret that one of the texts contains; None if there is none."""
    for kind, pattern in _SECRETS.items():
        if any(pattern.search(text) for text in texts):
            return kind
    return None
