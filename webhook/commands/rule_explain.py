"""`raywarden rules explain`: one rule in full, and an example of what it refuses."""

from collections.abc import Iterator

from rich.text import Text

from policies.model import Profile, Rule
from webhook.commands import reference
from webhook.commands.rule_examples import Example
from webhook.manifests.report import findings
from webhook.settings import Settings

_STYLES = {"-": "red", "+": "green", "@": "cyan"}


def explain(rule: type[Rule], example: Example, settings: Settings) -> Iterator[Text]:
    """Line by line what it refuses, why, what to write instead, its parameters, and the example."""
    yield Text(f"{rule.id} (profile {rule.profile}, severity {rule.severity})", "bold")
    yield Text()
    yield from map(Text, reference.paragraphs(rule).splitlines())
    yield from _parameters(rule)
    yield Text()
    policy = example.policy or (
        "profiles: {enforce: restricted}" if rule.profile is Profile.RESTRICTED else ""
    )
    yield Text(f"Refused, with {policy} in the policy file:" if policy else "Refused:", "bold")
    for one in example.examined(example.refused, settings):
        if not one.allowed:
            yield Text(f"{one.outcome.kind} {one.outcome.place}: DENIED")
            yield from map(Text, findings(one))
    yield Text()
    yield Text("Mended:", "bold")
    yield from (Text(line, _STYLES.get(line[:1], "")) for line in example.difference())


def _parameters(rule: type[Rule]) -> Iterator[Text]:
    listed = reference.parameters(rule)
    if listed:
        yield Text()
        yield Text(f"Parameters (rules.{rule.id}.parameters in the policy file):", "bold")
    for one in listed:
        yield Text(f"  {one.name}: {one.default}  ({one.type})")
        yield Text(f"      {one.description}")
