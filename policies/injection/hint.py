"""The annotation `raywarden.io/injected`: for people to read, never a proof of anything."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import orjson

from policies.documents.draft import Draft
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str
from policies.injection.contract import INJECTED_ANNOTATION
from policies.model import Facts

# RayWarden writes a few hundred characters. A longer value is not RayWarden's and is not parsed,
# which bounds the work an author can cause.
_MAX_CHARACTERS = 4096
_ANNOTATIONS = Pointer(("metadata", "annotations"))
_ANNOTATION = _ANNOTATIONS / INJECTED_ANNOTATION


def write_hint(draft: Draft, changed: Iterable[str], order: Sequence[str], facts: Facts) -> None:
    """Write the version, the contract hash and the ids of the mutations that changed the object.

    `order` lists all mutation ids in running order. On UPDATE the stored value is kept, because a
    changed annotation would show as a difference in GitOps tools.
    """
    stored = as_str(_ANNOTATION.read(facts.before.document)) if facts.before else ""
    draft.set(_ANNOTATIONS, INJECTED_ANNOTATION, stored or _hint(draft, changed, order, facts))


def _hint(draft: Draft, changed: Iterable[str], order: Sequence[str], facts: Facts) -> str:
    named = {*changed, *map(as_str, _earlier_mutations(draft))}
    mutations = tuple(mutation for mutation in order if mutation in named)
    return _text(facts.signer.version, facts.contract_hash, mutations)


# The text depends on the arguments alone, and most objects get one of a few.
@lru_cache(maxsize=64)
def _text(version: str, digits: str, mutations: tuple[str, ...]) -> str:
    return orjson.dumps({"version": version, "hash": digits, "mutations": mutations}).decode()


def _earlier_mutations(draft: Draft) -> list[Any]:
    """The mutations an earlier call for this request named (`reinvocationPolicy: IfNeeded`)."""
    text = as_str(_ANNOTATION.read(draft.document))
    if not text or len(text) > _MAX_CHARACTERS:
        return []
    try:
        mutations = as_dict(orjson.loads(text)).get("mutations")
    except ValueError:
        return []
    return mutations if isinstance(mutations, list) else []
