"""`ray start` in plain words: what a container can run, and where it runs that."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from policies.documents.untyped import as_str, dict_items

# A path inside a container, and the words at each.
Place = tuple[str, ...]
Commands = Mapping[Place, list[str]]

COMMAND: Place = ("command",)
ARGS: Place = ("args",)
# The fields of a container that say what it can run, with the places in them.
RUNNING: Mapping[str, Sequence[Place]] = {
    "command": [COMMAND],
    "args": [ARGS],
    "lifecycle": [
        ("lifecycle", "postStart", "exec", "command"),
        ("lifecycle", "preStop", "exec", "command"),
    ],
    **{
        probe: [(probe, "exec", "command")]
        for probe in ("livenessProbe", "readinessProbe", "startupProbe")
    },
}
# Options of `ray` itself can come between the two words. Every repetition is bounded, because the
# text is untrusted and an unbounded pattern could backtrack for a long time.
RAY_START = re.compile(r"\bray(?:\s+-\S{1,40}(?:\s+[^-\s]\S{0,40})?){0,4}\s+start\b")
# A variable whose value Kubernetes puts in, or `$$`, which stands for a plain `$`. Since Kubernetes
# 1.32 a name may have blanks and opening parentheses. It ends with its word: words are joined by
# line breaks, which no name has. A match takes everything up to there, which keeps a search linear.
REFERENCE = re.compile(r"\$\$|\$\(([^)\n]*+)\)?")
# More references to literals than a command has, and literals that refer to others more often than
# any does. Each is put in with its start and its end alone, longer than a path to `ray`: the text
# that is searched must not grow far beyond the size of the container.
_MAX_REFERENCES, _MAX_ROUNDS, _MAX_END = 100, 4, 32
# Longer than `ray`, four options with values, and `start`.
_MAX_OVERLAP = 500


def commands_in(container: Mapping[str, Any]) -> Commands:
    """Each list of words that a container can run: its command, arguments, hooks and probes."""
    commands: dict[Place, list[str]] = {}
    for field, places in RUNNING.items():
        if field in container:
            for place in places:
                words = words_at(place[1:], container[field])
                if words:
                    commands[place] = words
    return commands


def words_at(path: Place, value: Any) -> list[str]:
    """The words in the list at `path` in `value`; none if there is no list."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, list):
        return []
    # Nearly every list has nothing else, and needs no closer look.
    is_plain = set(map(type, value)) <= {str}
    return value if is_plain else [word for word in value if isinstance(word, str)]


def ray_starts(commands: Commands, container: Mapping[str, Any]) -> tuple[Place, ...]:
    """The places of `commands` where the container visibly runs `ray start`.

    The arguments count also if they complete the command: `command: [ray]`, `args: [start]`.
    """
    # The cheap test comes first: few commands contain the word or a variable.
    text = " ".join(chain.from_iterable(commands.values()))
    if "start" not in text and "$(" not in text:
        return ()
    starts = [place for place, words in commands.items() if _runs(words, container)]
    in_two_parts = {COMMAND, ARGS} <= commands.keys() and {COMMAND, ARGS}.isdisjoint(starts)
    if in_two_parts:
        command, args = "\n".join(commands[COMMAND]), "\n".join(commands[ARGS])
        if _runs([command[-_MAX_OVERLAP:], args[:_MAX_OVERLAP]], container):
            starts.append(ARGS)
    return tuple(starts)


def _runs(words: list[str], container: Mapping[str, Any]) -> bool:
    text = "\n".join(words)
    return _says_ray_start(text) or ("$(" in text and _runs_expanded(text, container))


def _runs_expanded(text: str, container: Mapping[str, Any]) -> bool:
    """Whether a text runs `ray start` with the literals that Kubernetes puts in for `$(NAME)`.

    A text with more references than a command has counts as one that does.
    """
    literals = _referenced(text, container)
    if not literals:
        return False
    if any(map(_says_ray_start, literals.values())):
        return True
    ends = {name: _ends(literal) for name, literal in literals.items()}
    remaining = _MAX_REFERENCES
    for _ in range(_MAX_ROUNDS):
        names = list(filter(ends.__contains__, REFERENCE.findall(text)))
        remaining -= len(names)
        if remaining < 0:
            return True
        if not names:
            break
        text = REFERENCE.sub(lambda found: ends.get(found[1], found[0]), text)
    return _says_ray_start(text)


def _referenced(text: str, container: Mapping[str, Any]) -> dict[str, str]:
    """The literals that a text refers to, also through other literals, by their names."""
    literals = {
        as_str(entry.get("name")): as_str(entry.get("value"))
        for _, entry in dict_items(container.get("env"))
        if not entry.get("valueFrom")
    }
    referenced: dict[str, str] = {}
    waiting = [text]
    while waiting:
        for name in REFERENCE.findall(waiting.pop()):
            if name in literals and name not in referenced:
                referenced[name] = literals[name]
                waiting.append(literals[name])
    return referenced


def _ends(text: str) -> str:
    if len(text) <= 2 * _MAX_END:
        return text
    return f"{text[:_MAX_END]};{text[-_MAX_END:]}"


def _says_ray_start(text: str) -> bool:
    # The cheap test comes first: few commands contain the word.
    return "start" in text and RAY_START.search(text) is not None
