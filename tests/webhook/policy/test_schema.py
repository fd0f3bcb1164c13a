"""The JSON Schema of the policy file accepts exactly what the server accepts."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from policies.config import Policy
from policies.documents.untrusted_yaml import load_all
from policies.problems import PolicyError
from policies.registry import RULES
from tests.support.paths import REPOSITORY
from webhook.policy import schema

SCHEMA = orjson.loads(schema.text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def verdicts(document: Any) -> tuple[bool, bool]:
    """Whether the schema accepts the document, and whether the server does."""
    schema_accepts = VALIDATOR.is_valid(document)
    try:
        Policy.parse(document)
    except PolicyError:
        return schema_accepts, False
    return schema_accepts, True


def exemption(**fields: Any) -> Any:
    return {"exemptions": [{"names": ["a"], "reason": "because", **fields}]}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"apiVersion": "raywarden.io/v1alpha1", "kind": "Policy"},
        {"profiles": {"enforce": "privileged"}},
        {"namespacesMayLoosen": True},
        {"rules": {"tls-on": {}}},
        {"rules": {"tls-on": {"mode": "off"}}},
        {"rules": {"tls-on": {"mode": False}}},
        {"rules": {"tls-on": {"mode": None, "parameters": {}}}},
        {"rules": {"no-host-path": {"parameters": {"allowedPrefixes": ["/mnt"]}}}},
        {
            "rules": {
                "ray-version-floor": {
                    "parameters": {"denyBelow": "v2.9", "warnBelow": "2.55.0-py310"}
                }
            }
        },
        {"exemptions": []},
        exemption(),
        exemption(rules=["tls-on"], namespaces=[], users=["*"], until="2028-02-29"),
        exemption(until=None),
        {"authorSuppressions": {}},
        {"authorSuppressions": {"rules": []}},
        {"authorSuppressions": {"rules": ["no-root", "pinned-images"]}},
        {"authorSuppressions": {"rules": "all"}},
        {
            "inject": {
                "rayCluster": "marker",
                "nodeIpAddress": False,
                "auth": False,
                "clusterDomain": "a.b",
            }
        },
        {"inject": {"nonRootImages": [{"image": "a/*", "uid": 2**70}]}},
    ],
)
def test_schema_and_server_accept_valid_files(document: Any) -> None:
    assert verdicts(document) == (True, True)


@pytest.mark.parametrize(
    "document",
    [
        [],
        "text",
        {"color": "red"},
        {"namespaces_may_loosen": True},
        {"apiVersion": "raywarden.io/v2"},
        {"kind": "Pod"},
        {"profiles": None},
        {"profiles": {"enforce": "strict"}},
        {"profiles": {"wran": "baseline"}},
        {"namespacesMayLoosen": "true"},
        {"namespacesMayLoosen": 1},
        {"rules": {"no-such-rule": {}}},
        {"rules": {"tls-on": None}},
        {"rules": {"tls-on": {"mode": "maybe"}}},
        {"rules": {"tls-on": {"mode": True}}},
        {"rules": {"tls-on": {"mode": 0}}},
        {"rules": {"tls-on": {"parameters": {"a": 1}}}},
        {"rules": {"no-host-path": {"parameters": {"allowedPrefixes": "/mnt"}}}},
        {"rules": {"no-host-path": {"parameters": {"allowedPrefixes": [1]}}}},
        {"rules": {"no-host-path": {"parameters": {"allowed_prefixes": []}}}},
        {"rules": {"ray-version-floor": {"parameters": {"denyBelow": "new"}}}},
        {"rules": {"ray-version-floor": {"parameters": {"denyBelow": 2.52}}}},
        exemption(reason=""),
        exemption(reason=None),
        exemption(names=[]),
        exemption(rules=["tls-off"]),
        exemption(until="2027-1-31"),
        exemption(until="2027-02-29"),
        exemption(until="1735689600"),
        exemption(until=1735689600),
        exemption(until=False),
        {"authorSuppressions": {"rules": ["no-rot"]}},
        {"authorSuppressions": {"rules": ["all"]}},
        {"authorSuppressions": {"rules": "no-root"}},
        {"authorSuppressions": {"rules": None}},
        {"authorSuppressions": "all"},
        {"exemptions": [{"reason": "because"}]},
        {"exemptions": [{"names": ["a"]}]},
        {"exemptions": {}},
        {"inject": {"nodeIpAddress": "dns"}},
        {"inject": {"rayCluster": False}},
        {"inject": {"nonRootImages": [{"image": "a", "uid": 0}]}},
        {"inject": {"nonRootImages": [{"image": "a", "uid": True}]}},
        {"inject": {"nonRootImages": [{"image": "a"}]}},
        {"inject": {"clusterDomain": "Not A Domain"}},
    ],
)
def test_schema_and_server_reject_invalid_files(document: Any) -> None:
    assert verdicts(document) == (False, False)


def _documents(schema: Any) -> st.SearchStrategy[Any]:
    """Documents that nearly match `schema`: its field names with valid and invalid values."""
    if "$ref" in schema:
        return _documents(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    others: st.SearchStrategy[Any] = st.sampled_from(
        [None, True, False, 0, 1, "", "a", "off", "2.52.0", "2027-01-31", "tls-on", [], {}, ["a"]]
    )
    if "anyOf" in schema and "properties" not in schema:
        return st.one_of(others, *(_documents(part) for part in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return others | st.sampled_from(schema.get("enum") or [schema["const"]])
    if "type" not in schema:
        return others
    if schema["type"] == "array":
        return others | st.lists(_documents(schema["items"]), max_size=2)
    if schema["type"] == "object" and "properties" not in schema:
        return others | st.dictionaries(
            st.sampled_from(["a", "b.c/d"]), _documents(schema["additionalProperties"])
        )
    if schema["type"] == "object":
        parts = {name: _documents(part) for name, part in schema["properties"].items()}
        return others | st.fixed_dictionaries({}, optional={**parts, "other": others})
    return others


@given(_documents(SCHEMA))
def test_schema_and_server_agree_on_any_document(document: Any) -> None:
    # An empty file is the default policy; editors do not validate it against the schema.
    by_schema, by_server = verdicts({} if document is None else document)
    assert by_schema == by_server


def test_the_documented_files_are_valid() -> None:
    shown = re.findall(
        r"```yaml\n(apiVersion: raywarden.io/v1alpha1\nkind: Policy\n.*?)```", _guide(), re.DOTALL
    )
    assert shown
    for content in (*shown, (REPOSITORY / "deploy" / "base" / "policy.yaml").read_text()):
        (document,) = load_all(content)
        assert verdicts(document) == (True, True)


def _guide() -> str:
    return (REPOSITORY / "deploy" / "POLICY-FILE.md").read_text()


def test_the_schema_is_valid_and_describes_every_field() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMA)
    fields = dict(_fields())
    assert set(fields) >= {
        "rules",
        "rules.tls-on",
        "exemptions",
        "Exemption.until",
        "Injection.clusterDomain",
    }
    assert [name for name, description in fields.items() if not description] == []
    for part in (SCHEMA, *SCHEMA["$defs"].values(), SCHEMA["properties"]["rules"]):
        assert part["additionalProperties"] is False


def _fields() -> Iterator[tuple[str, str]]:
    parts = {"": SCHEMA, "rules.": SCHEMA["properties"]["rules"]}
    parts |= {f"{name}.": definition for name, definition in SCHEMA["$defs"].items()}
    for prefix, part in parts.items():
        for name, field in part["properties"].items():
            definition = SCHEMA["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            description = field.get("description") or definition.get("description", "")
            yield prefix + name, description


def test_every_rule_has_its_parameters_in_the_schema() -> None:
    rules = SCHEMA["properties"]["rules"]["properties"]
    assert list(rules) == [rule.id for rule in RULES]
    for rule in RULES:
        settings = _definition(rules[rule.id])["properties"]
        parameters = _definition(settings["parameters"])["properties"]
        assert set(settings) == {"mode", "parameters"}
        assert list(parameters) == [field.alias for field in rule.model_fields.values()]


def _definition(reference: Any) -> Any:
    return SCHEMA["$defs"][reference["$ref"].rpartition("/")[2]]


def test_the_command_line_prints_the_schema() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "webhook", "rules", "schema"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert process.stdout == (REPOSITORY / "policies" / "policy.schema.json").read_text()
