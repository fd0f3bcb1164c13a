"""What must never be printed: private keys and tokens, in any of the forms they take here."""

import re

_SECRETS = {
    # The header alone is no secret: messages and tests speak of it.
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(\s|\\n)+[A-Za-z0-9+/]{16}"),
    "a service account token": re.compile(
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    ),
    "a bearer token": re.compile(r"[Bb]earer [A-Za-z0-9_-]{32,}"),
}


def leaked(*texts: str) -> str | None:
    """What kind of secret is in one of the texts; None for none."""
    return next(
        (message for message, form in _SECRETS.items() for text in texts if form.search(text)), None
    )
