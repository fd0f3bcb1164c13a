"""The one secret everything else is derived from, in generations."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

SEED_BYTES = 32

_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_RETIRED = ".retired."


class SeedError(ValueError):
    """The seed cannot be used as it is; the message lists everything that is wrong with it, and no byte of it."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of the seed: 32 random bytes and the time from which new clusters use them.

    One that was retired signs nothing since then and is still trusted, while clusters restart pod by pod. The secret
    is left out of `repr`, so that it cannot reach a log or a traceback.
    """

    activated: datetime
    secret: bytes = field(repr=False)
    retired: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.secret) != SEED_BYTES:
            raise ValueError(f"a seed generation is {SEED_BYTES} bytes, not {len(self.secret)}")

    @property
    def name(self) -> str:
        """The time of activation, as `20261120T080000Z`."""
        return _text(self.activated)

    @property
    def entry(self) -> str:
        """The name it is stored under: a retired one bears the time of that, too."""
        return self.name + (f"{_RETIRED}{_text(self.retired)}" if self.retired else "")


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime(_TIME_FORMAT)


def _time(name: str) -> datetime | None:
    try:
        time = datetime.strptime(name, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    # strptime also takes `2026112T8000Z`, and two names for one time are one too many. A certificate of a seed lives
    # ten years, and X.509 knows no year 10000.
    return time if time.strftime(_TIME_FORMAT) == name and 2000 <= time.year < 9000 else None


@dataclass(frozen=True, slots=True)
class Seed:
    """All generations, oldest first; at least one of them signs."""

    generations: tuple[Generation, ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.generations, key=lambda generation: generation.activated))
        names = [generation.name for generation in ordered]
        if len(set(names)) < len(names):
            raise SeedError(
                "two generations have the same name: store one of them under another time"
            )
        secrets = [generation.secret for generation in ordered]
        if len(set(secrets)) < len(secrets) or any(len(set(secret)) == 1 for secret in secrets):
            raise SeedError(
                "two generations have the same bytes, or one has the same byte throughout"
            )
        if all(generation.retired for generation in ordered):
            raise SeedError("no generation is left that signs: add one first")
        object.__setattr__(self, "generations", ordered)

    @classmethod
    def parse(cls, entries: Mapping[str, bytes]) -> "Seed":
        """The seed in the entries of a Secret, each named by its generation's time of activation, with 32 bytes in it.

        `20261120T080000Z.retired.20270101T000000Z` is one that was retired. Raises SeedError with every problem.
        """
        generations, problems = [], []
        for entry, secret in sorted(entries.items()):
            name, was_retired, then = entry.partition(_RETIRED)
            activated, retired = _time(name), _time(then) if was_retired else None
            if activated is None or (was_retired and retired is None):
                problems.append(
                    f"entry {entry!r} is not named by a time of activation, as 20261120T080000Z"
                )
            elif len(secret) != SEED_BYTES:
                problems.append(f"entry {entry!r} holds {len(secret)} bytes, not {SEED_BYTES}")
            else:
                generations.append(Generation(activated, secret, retired))
        if problems:
            raise SeedError("; ".join(problems))
        if not generations:
            raise SeedError("there is no generation in it")
        return cls(tuple(generations))

    @property
    def entries(self) -> dict[str, bytes]:
        """What `parse` reads."""
        return {generation.entry: generation.secret for generation in self.generations}

    @property
    def serving(self) -> Generation:
        """The generation our own certificates come from: the oldest that signs, so that adding one changes nothing."""
        return self.signing()[0]

    def signing(self, at: datetime | None = None) -> tuple[Generation, ...]:
        """The generations that sign, now or `at` an earlier time; those forgotten since are not among them."""
        return tuple(
            one
            for one in self.generations
            if one.retired is None or (at is not None and at < one.retired)
        )

    def for_cluster(self, created: datetime, at: datetime | None = None) -> Generation:
        """The generation of a cluster created then: the newest activated by that time, else the oldest left.

        So a new generation never touches a cluster that runs, and taking one away re-keys its clusters. `at` is as in
        `signing`.
        """
        signing = self.signing(at)
        fitting = [generation for generation in signing if generation.activated <= created]
        return fitting[-1] if fitting else signing[0]

    def shares_with(self, other: "Seed") -> bool:
        """Whether one secret is in both."""
        return bool(
            {one.secret for one in self.generations} & {one.secret for one in other.generations}
        )

    def with_generation(self, generation: Generation) -> "Seed":
        """The seed with one more generation."""
        return Seed((*self.generations, generation))

    def retire(self, name: str, now: datetime) -> "Seed":
        """The seed with a generation that signs no more and is still trusted; KeyError for a name it does not have."""
        retired = replace(self._named(name), retired=now)
        return Seed(tuple(retired if one.name == name else one for one in self.generations))

    def without(self, name: str) -> "Seed":
        """The seed without a generation; KeyError for a name it does not have."""
        dropped = self._named(name)
        return Seed(tuple(one for one in self.generations if one is not dropped))

    def _named(self, name: str) -> Generation:
        return {generation.name: generation for generation in self.generations}[name]
