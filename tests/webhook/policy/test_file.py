"""The policy file as text: the problems of an invalid one, and their positions."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.config import Policy
from policies.registry import RULES
from tests.support.paths import REPOSITORY
from webhook.policy.file import MAX_BYTES, load_policy, parse_policy
from webhook.settings import SetupError

EVERYTHING_WRONG = """\
apiVersion: raywarden.io/v1
profiles: {enforce: strict, wran: baseline}
namespaceMayLoosen: yes
rules:
  tls-of: {mode: warn}
  no-host-path:
    mode: enforced
    parameters:
      allowedPrefixs: [/mnt]
  ray-version-floor:
    parameters: {denyBelow: new}
exemptions:
  - rules: [tls-on, no-privileges]
    reasn: because
    until: 2027-1-31
  - reason: nothing named
inject:
  nonRootImages:
    - {image: a, uid: 0}
"""


def problems(content: str | bytes, running: Policy | None = None) -> list[str]:
    """The problems of a policy file called p."""
    encoded = content if isinstance(content, bytes) else content.encode()
    with pytest.raises(SetupError) as caught:
        parse_policy(Path("p"), encoded, running)
    return str(caught.value).splitlines()


def test_all_problems_are_reported_in_the_order_of_the_file() -> None:
    assert problems(EVERYTHING_WRONG) == [
        "p:1:13: apiVersion: Input should be 'raywarden.io/v1alpha1'",
        "p:2:21: profiles.enforce: Input should be 'privileged', 'baseline' or 'restricted'",
        "p:2:29: profiles.wran: there is no such field; did you mean warn?",
        "p:3:1: namespaceMayLoosen: there is no such field; did you mean namespacesMayLoosen?",
        "p:5:3: rules.tls-of: no rule is called tls-of; did you mean tls-on?",
        "p:7:11: rules.no-host-path.mode: Input should be 'enforce', 'warn', 'audit' or 'off'",
        "p:9:7: rules.no-host-path.parameters.allowedPrefixs: there is no such field; "
        "did you mean allowedPrefixes?",
        "p:11:29: rules.ray-version-floor.parameters.denyBelow: "
        "write a version of three numbers, such as 2.52.0",
        "p:13:5: exemptions.0.reason: Field required",
        "p:13:21: exemptions.0.rules.1: no rule is called no-privileges; "
        "did you mean no-privileged?",
        "p:14:5: exemptions.0.reasn: there is no such field; did you mean reason?",
        "p:15:12: exemptions.0.until: write a day as 2027-01-31",
        "p:16:5: exemptions.1: name at least one of rules, namespaces, names and users",
        "p:19:23: inject.nonRootImages.0.uid: Input should be greater than 0",
    ]


ALL_RULES = ", ".join(sorted(rule.id for rule in RULES))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("just text\n", "p:1:1: write a mapping"),
        ("# a comment\n---\n- a\n", "p:3:1: write a mapping"),
        ("profiles:\nrules: {}\n", "p:1:10: profiles: write a mapping"),
        ("rules:\n  tls-on: warn\n", "p:2:11: rules.tls-on: write a mapping"),
        ("rules: {xyz: {}}\n", f"p:1:9: rules.xyz: no rule is called xyz; rules are {ALL_RULES}"),
        ("rules:\n  tls-on:\n    parameters: {a: 1}\n",
         "p:3:18: rules.tls-on.parameters.a: there is no such field"),
        ("namespacesMayLoosen: 'yes'\n", "p:1:22: namespacesMayLoosen: write true or false"),
        ("namespaces_may_loosen: true\n", "p:1:1: namespaces_may_loosen: there is no such field; "
         "did you mean namespacesMayLoosen?"),
        ("exemptions:\n- {reason: because, names: a}\n",
         "p:2:28: exemptions.0.names: write a list"),
        ("exemptions:\n- {reason: 4711, names: [a]}\n",
         "p:2:12: exemptions.0.reason: write a string (numbers and booleans need quotes)"),
        ("exemptions:\n- {reason: a, names: [a], until: 2027-02-30}\n",
         "p:2:34: exemptions.0.until: day is out of range for month"),
        ("exemptions:\n- &one {names: [a]}\n- *one\n- {<<: *one, reason: a, user: [b]}\n",
         "p:2:3: exemptions.0.reason: Field required\np:3:3: exemptions.1.reason: Field required\n"
         "p:4:25: exemptions.2.user: there is no such field; did you mean users?"),
        ("inject:\n  nonRootImages:\n  - {image: a, uid: '1'}\n",
         "p:3:21: inject.nonRootImages.0.uid: write a whole number"),
        ("rules: {}\nkind: Policy\nrules: {}\n", "p:3:1: duplicate key rules"),
        ("a: [1\n", "p:2:1: did not find expected ',' or ']'"),
        ("kind: Policy\n---\nkind: Policy\n",
         "p:3:1: a second document starts here; a policy file contains only one"),
        ("kind: Pol\x00icy\n", "p:1:10: control characters are not allowed"),
        (b"kind: Policy\n# caf\xe9\n", "p:2:6: not UTF-8 text"),
        ("[" * 1000, "p:1:101: nested deeper than 100 levels"),
        ('"\\e[31m\\n": 1\n', "p:1:1:  [31m : there is no such field"),
        (f"{'x' * 1000}: 1\n", f"p:1:1: {'x' * 60}...: there is no such field"),
    ],
)  # fmt: skip
def test_every_problem_has_its_line_and_column(content: str | bytes, line: str) -> None:
    assert "\n".join(problems(content)) == line


def test_of_thousands_of_problems_most_are_only_counted() -> None:
    lines = problems("".join(f"k{number}: 1\n" for number in range(20_000)))
    assert len(lines) == 51
    assert lines[-1] == "p: ... and 19950 more"


@pytest.mark.parametrize(
    "content", ["", "# nothing but a comment\n", "---\n", "{}", '{"kind": "Policy"}']
)
def test_an_empty_file_is_the_default_policy(tmp_path: Path, content: str) -> None:
    (file := tmp_path / "policy.yaml").write_text(content)
    assert load_policy(file).file == load_policy(None).file


def test_a_file_that_cannot_be_read_has_a_reason(tmp_path: Path) -> None:
    (large := tmp_path / "large.yaml").write_text("#" * (MAX_BYTES + 1))
    reasons = {
        tmp_path / "none": "No such file or directory",
        tmp_path: "not a file",
        large: "larger than 1024 KiB",
    }
    for file, reason in reasons.items():
        with pytest.raises(SetupError) as caught:
            load_policy(file)
        assert str(caught.value) == f"{file}: {reason}"


def test_a_running_server_cannot_change_the_cluster_domain() -> None:
    content, running = "inject:\n  clusterDomain: other.local\n", load_policy(None)
    assert problems(content, running) == [
        "p:2:18: inject.clusterDomain: certificates contain names in cluster.local; "
        "restart the server to change the cluster domain"
    ]
    assert parse_policy(Path("p"), content.encode()).inject.cluster_domain == "other.local"


_words = st.sampled_from(
    [
        "rules",
        "exemptions",
        "reason",
        "until",
        "mode",
        "tls-on",
        "inject",
        "off",
        "2027-01-31",
        "<<",
        "'",
        '"',
        "| ",
        "#",
    ]
)
_pieces = _words | st.sampled_from(
    ["\n", "  ", " ", ": ", "- ", "{", "}", "[", "]", ",", "&a ", "*a", "---\n", "\t"]
)


@given(st.text() | st.lists(_pieces, max_size=40).map("".join))
def test_any_text_is_a_policy_or_rejected_with_a_reason(content: str) -> None:
    try:
        assert isinstance(parse_policy(Path("p"), content.encode()), Policy)
    except SetupError as error:
        assert all(line.startswith("p:") for line in str(error).splitlines())


@given(st.binary())
def test_any_bytes_are_a_policy_or_rejected_with_a_reason(content: bytes) -> None:
    try:
        assert isinstance(parse_policy(Path("p"), content), Policy)
    except SetupError as error:
        assert str(error).startswith("p:")


def test_the_example_is_the_default_policy_and_shows_every_field() -> None:
    example = REPOSITORY / "deploy" / "base" / "policy.yaml"
    policy, default = load_policy(example), Policy.parse(None)
    assert policy.rules == default.rules and not any(
        rule.mode for rule in policy.file.rules.values()
    )
    assert policy.file.model_copy(update={"rules": {}}) == default.file
    content = example.read_text()
    schema = orjson.loads((REPOSITORY / "policies" / "policy.schema.json").read_bytes())
    for part in (schema, *schema["$defs"].values()):
        assert [name for name in part["properties"] if f"{name}:" not in content] == []
    assert content.startswith("# yaml-language-server: $schema=../../policies/policy.schema.json\n")
    assert (example.parent / "../../policies/policy.schema.json").exists()


def test_the_part_of_the_example_in_comments_is_valid_too() -> None:
    section = (
        (REPOSITORY / "deploy" / "base" / "policy.yaml")
        .read_text()
        .partition("exemptions: []\n")[2]
        .partition("\n\n")[0]
    )
    content = "exemptions:\n" + "\n".join(line.removeprefix("#") for line in section.splitlines())
    (exemption,) = parse_policy(Path("p"), content.encode()).file.exemptions
    assert exemption.until == date(2027, 1, 31) and exemption.users


def review(*arguments: str) -> subprocess.CompletedProcess[str]:
    manifest = "deploy/examples/01-good-raycluster.json"
    command = [sys.executable, "-m", "webhook", "review", *arguments, manifest]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_review_reports_exemptions_that_have_ended(tmp_path: Path) -> None:
    (file := tmp_path / "policy.yaml").write_text(
        "exemptions:\n"
        "- {names: [a], reason: for ever}\n"
        "- {names: [b], reason: a test run, until: 2026-01-31}\n"
    )
    ended = review("--policy", str(file))
    assert ended.returncode == 0
    note = "note: exemption 2 (a test run) expired on 2026-01-31"
    assert ended.stdout.splitlines().count(note) == 1
    ended = review("--policy", str(file), "-o", "json")
    assert (orjson.loads(ended.stdout)["notes"], ended.stderr) == (
        ["exemption 2 (a test run) expired on 2026-01-31"],
        "",
    )
    assert orjson.loads(review("-o", "json").stdout)["notes"] == []
