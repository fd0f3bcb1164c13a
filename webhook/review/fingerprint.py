"""What a finding is recognized by in a later version of its file."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from policies.documents.pointer import Pointer
from webhook.review.finding import Subject

# Enough that two findings of one repository never have the same by accident.
_DIGITS = 32


class Fingerprints:
    """The fingerprints of one review.

    A fingerprint is made of the file, the object, the rule, the message, and the path of names to
    the value. Lines and list positions are not part of it. The second finding that has all of
    these in common with another gets a fingerprint of its own.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of(self, file: str, subject: Subject, rule: str, message: str, path: Iterator[str]) -> str:
        """The fingerprint of the next finding."""
        parts = (file, subject.kind, subject.namespace, subject.name, rule, message, *path)
        text = "\0".join(parts)
        first = _digest(text)
        self._seen[first] += 1
        number = self._seen[first]
        return first if number == 1 else _digest(f"{text}\0{number}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


def named_path(pointer: Pointer, document: Any) -> Iterator[str]:
    """The steps of a pointer, with the name of a list member in place of its position."""
    value = document
    for token in pointer:
        value = Pointer((token,)).read(value)
        name = value.get("name", value.get("groupName")) if isinstance(value, dict) else None
        yield f"[{name}]" if isinstance(token, int) and name is not None else str(token)
