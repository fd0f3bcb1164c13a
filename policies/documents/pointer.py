"""JSON pointers, built by division: ``ROOT / "spec" / "volumes" / 0`` is ``/spec/volumes/0``."""

from typing import Any


class Pointer(tuple[str | int, ...]):
    """A place in a JSON document (RFC 6901).

    ``str()`` gives the escaped text that JSON Patch and messages use.
    """

    __slots__ = ()

    def __truediv__(self, token: str | int) -> "Pointer":
        return Pointer((*self, token))

    def __str__(self) -> str:
        if not self:
            return ""
        plain = "/".join(map(str, self))
        # Without "~", and with no more slashes than those just added, nothing needs escaping.
        if "~" not in plain and plain.count("/") < len(self):
            return "/" + plain
        return "".join(["/" + str(token).replace("~", "~0").replace("/", "~1") for token in self])

    def __repr__(self) -> str:
        return f"Pointer({str(self)!r})"

    @property
    def parent(self) -> "Pointer":
        return Pointer(self[:-1])

    def read(self, document: Any) -> Any:
        """The value at this place; None if it, or anything on the way to it, does not exist."""
        value = document
        for token in self:
            if isinstance(value, dict):
                value = value.get(token)
            elif isinstance(value, list) and isinstance(token, int) and token < len(value):
                value = value[token]
            else:
                return None
        return value


ROOT = Pointer()
