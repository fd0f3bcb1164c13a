"""The seed is the one secret that all keys are derived from; it consists of generations."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

SEED_BYTES = 32

_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_RETIRED = ".retired."


class SeedError(ValueError):
    """The seed cannot be used.

    The message lists everything that is wrong with the seed and contains no byte of its secrets.
    """


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of the seed: 32 random bytes, and the time from which new clusters use them.

    A retired generation no longer signs, but pods still trust it while they restart one by one.
    `repr` leaves out the secret, so that it cannot reach a log or a traceback.
    """

    activated: datetime
    secret: bytes = field(repr=False)
    retired: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.secret) != SEED_BYTES:
            raise ValueError(
                f"a seed generation must have {SEED_BYTES} bytes, not {len(self.secret)}"
            )

    @property
    def name(self) -> str:
        """The time of activation, such as `20261120T080000Z`."""
        return _format_time(self.activated)

    @property
    def entry(self) -> str:
        """The name of its entry in the Secret; it includes the time at which it was retired."""
        if self.retired is None:
            return self.name
        return f"{self.name}{_RETIRED}{_format_time(self.retired)}"


def _format_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime(_TIME_FORMAT)


def _parse_time(name: str) -> datetime | None:
    try:
        time = datetime.strptime(name, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    # strptime also accepts `2026112T8000Z`; each time must have exactly one name. The bound on the
    # year leaves room for the lifetime of a CA, because X.509 ends with the year 9999.
    canonical = time.strftime(_TIME_FORMAT) == name
    return time if canonical and 2000 <= time.year < 9000 else None


@dataclass(frozen=True, slots=True)
class Seed:
    """All generations, oldest first; at least one of them is not retired."""

    generations: tuple[Generation, ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.generations, key=lambda generation: generation.activated))
        names = [generation.name for generation in ordered]
        if len(set(names)) < len(names):
            raise SeedError(
                "two generations have the same activation time; store one of them under another"
            )
        # Catch the mistakes of writing a Secret by hand: a copied entry, and zeros as placeholder.
        secrets = [generation.secret for generation in ordered]
        if len(set(secrets)) < len(secrets) or any(len(set(secret)) == 1 for secret in secrets):
            raise SeedError(
                "two generations hold the same bytes, or one generation repeats a single byte"
            )
        if all(generation.retired for generation in ordered):
            raise SeedError("no signing generation would be left; add a new generation first")
        object.__setattr__(self, "generations", ordered)

    @classmethod
    def parse(cls, entries: Mapping[str, bytes]) -> "Seed":
        """Read the seed from the entries of a Secret.

        The name of an entry is the activation time of its generation; the value has 32 bytes. A
        name such as `20261120T080000Z.retired.20270101T000000Z` is that of a retired generation.

        Raises SeedError with all problems.
        """
        generations, problems = [], []
        for entry, secret in sorted(entries.items()):
            name, is_retired, retirement = entry.partition(_RETIRED)
            activated, retired = _parse_time(name), _parse_time(retirement)
            if activated is None or (is_retired and retired is None):
                problems.append(
                    f"the name of entry {entry!r} is not an activation time such as "
                    "20261120T080000Z"
                )
            elif len(secret) != SEED_BYTES:
                problems.append(f"entry {entry!r} holds {len(secret)} bytes, not {SEED_BYTES}")
            else:
                generations.append(Generation(activated, secret, retired))
        if problems:
            raise SeedError("; ".join(problems))
        if not generations:
            raise SeedError("the seed has no generations")
        return cls(tuple(generations))

    @property
    def entries(self) -> dict[str, bytes]:
        """The entries of a Secret that `parse` reads back."""
        return {generation.entry: generation.secret for generation in self.generations}

    @property
    def serving(self) -> Generation:
        """The generation of RayWarden's own certificate: the oldest that signs.

        So adding a generation does not change the CA that webhook configurations and pods trust.
        """
        return self.signing()[0]

    def signing(self, at: datetime | None = None) -> tuple[Generation, ...]:
        """The generations of this seed that sign now, or that signed `at` an earlier time."""
        return tuple(
            generation
            for generation in self.generations
            if generation.retired is None or (at is not None and at < generation.retired)
        )

    def for_cluster(self, created: datetime, at: datetime | None = None) -> Generation:
        """The generation that signs for a cluster that was created at `created`.

        It is the newest generation that was active by then, otherwise the oldest that still signs.
        So a new generation never changes a running cluster, and removing a generation re-keys its
        clusters. `at` is as in `signing`.
        """
        signing = self.signing(at)
        active = [generation for generation in signing if generation.activated <= created]
        return active[-1] if active else signing[0]

    def shares_with(self, other: "Seed") -> bool:
        """Whether both seeds have a secret in common."""
        secrets = {generation.secret for generation in self.generations}
        return any(generation.secret in secrets for generation in other.generations)

    def with_generation(self, generation: Generation) -> "Seed":
        """This seed with one more generation."""
        return Seed((*self.generations, generation))

    def retire(self, name: str, now: datetime) -> "Seed":
        """This seed with the named generation retired: no longer signing, but still trusted.

        Raises KeyError for an unknown name, SeedError if no generation would be left that signs.
        """
        retired = replace(self._named(name), retired=now)
        return Seed((*self._others(name), retired))

    def without(self, name: str) -> "Seed":
        """This seed without the named generation.

        Raises KeyError for an unknown name, SeedError if no generation would be left that signs.
        """
        self._named(name)
        return Seed(self._others(name))

    def _others(self, name: str) -> tuple[Generation, ...]:
        return tuple(generation for generation in self.generations if generation.name != name)

    def _named(self, name: str) -> Generation:
        return {generation.name: generation for generation in self.generations}[name]
