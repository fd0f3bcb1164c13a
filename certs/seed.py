"""The one secret everything else is derived from."""

from dataclasses import dataclass, field
from datetime import datetime

SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of the seed: 32 random bytes and the time from which new clusters use them.

    The secret is left out of `repr`, so that it cannot reach a log or a traceback.
    """

    activated: datetime
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SEED_BYTES:
            raise ValueError(f"a seed generation is {SEED_BYTES} bytes, not {len(self.secret)}")
