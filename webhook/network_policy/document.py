"""NetworkPolicies as YAML for `kubectl apply -f -`, each rule with its reason."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import indent, wrap
from typing import Any

import yaml

from policies.documents.untyped import printable
from policies.network.policy import Direction
from policies.network.written import WrittenPolicy, WrittenRule
from webhook.manifests.yaml_dumpers import PlainDumper

_WIDTH = 96
_LONGEST_COMMENT = 1000


def document(policy: WrittenPolicy, header: Sequence[str]) -> str:
    """The policy as a YAML document that begins with `header` as comments."""
    return "".join(_parts(policy, header))


def _parts(policy: WrittenPolicy, header: Sequence[str]) -> Iterator[str]:
    yield "---\n"
    for text in header:
        yield _comment(text, "")
    metadata = {"name": policy.name}
    if policy.namespace:
        metadata["namespace"] = policy.namespace
    yield _dumped(
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata}
    )
    spec = policy.spec
    yield "spec:\n"
    selection = {name: spec[name] for name in ("podSelector", "policyTypes")}
    yield indent(_dumped(selection), "  ")
    rules = {Direction.INGRESS: policy.ingress, Direction.EGRESS: policy.egress}
    for direction, written in rules.items():
        if written:
            yield from _rules(direction, written)


def _rules(direction: Direction, rules: Sequence[WrittenRule]) -> Iterator[str]:
    yield f"  {direction.rules_field}:\n"
    for written in rules:
        yield _comment(written.reason, "  ")
        yield indent(_dumped([dict(written.rule)]), "  ")


def _comment(text: str, margin: str) -> str:
    """Lines of comment; no text, whatever it holds, can end the comment."""
    text = printable(text, _LONGEST_COMMENT)
    lines = wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"{margin}# {line}\n" for line in lines)


def _dumped(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return yaml.dump(value, Dumper=PlainDumper, sort_keys=False, allow_unicode=True)
