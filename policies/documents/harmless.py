"""Remembering what a rule found nothing in, because most parts of an object are alike."""

from typing import Any

# Comparing with more values would take longer than judging another one.
_MAX_VALUES = 4


class Harmless(list[Any]):
    """Values in which a rule found nothing, so that it need not judge equal ones again.

    In Python `true` equals 1, and `false` equals 0. A rule that tells them apart remembers only
    values in which that makes no difference.
    """

    def remember(self, value: Any) -> None:
        """Keep `value`, unless there are many already."""
        if len(self) < _MAX_VALUES:
            self.append(value)
