"""`raywarden rules explain`: one rule in full, with an example of what it refuses."""

from collections.abc import Iterator
from pathlib import PurePath

from rich.text import Text

from policies.model import Profile, Rule
from webhook.commands import reference
from webhook.commands.rule_examples import Example
from webhook.reports.object_report import finding_lines
from webhook.review.judged import Judge
from webhook.settings import Settings

_STYLES = {"-": "red", "+": "green", "@": "cyan"}


def explain(rule: type[Rule], example: Example, settings: Settings) -> Iterator[Text]:
    """The lines about a rule: what it refuses, why, how to fix it, its parameters, the example."""
    yield Text(f"{rule.id} (profile {rule.profile}, severity {rule.severity})", "bold")
    yield Text()
    yield from map(Text, reference.paragraphs(rule).splitlines())
    yield from _parameters(rule)
    yield Text()
    yield Text(_refused_title(rule, example), "bold")
    judge = Judge(PurePath())
    for manifest in example.review(example.refused, settings):
        if not manifest.allowed or (rule.only_warns and manifest.warned):
            result = "WARNED" if manifest.allowed else "DENIED"
            yield Text(f"{manifest.outcome.kind} {manifest.outcome.place}: {result}")
            yield from finding_lines(judge.result(manifest), in_files=False)
    yield Text()
    yield Text("Fixed:", "bold")
    yield from (Text(line, _STYLES.get(line[:1], "")) for line in example.difference())


def _refused_title(rule: type[Rule], example: Example) -> str:
    policy = example.policy
    if rule.only_warns:
        return "Allowed, with warnings:"
    if not policy and rule.profile is Profile.RESTRICTED:
        policy = "profiles: {enforce: restricted}"
    return f"Refused, with {policy} in the policy file:" if policy else "Refused:"


def _parameters(rule: type[Rule]) -> Iterator[Text]:
    parameters = reference.parameters(rule)
    if parameters:
        yield Text()
        yield Text(f"Parameters (rules.{rule.id}.parameters in the policy file):", "bold")
    for parameter in parameters:
        yield Text(f"  {parameter.name}: {parameter.default}  ({parameter.type})")
        yield Text(f"      {parameter.description}")
