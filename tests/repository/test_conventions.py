"""The house keeps its own rules: what is written is listed, and what is listed is documented."""

import re
import tomllib
from typing import Any

import pytest

from certs import identity
from policies.ray import membership
from policies.ray.pod import PodRole
from policies.registry import MUTATIONS, RULES
from tests.support.paths import REPOSITORY, repository_files
from tests.support.secrecy import leaked

_NAME = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def modules(folder: str) -> set[str]:
    return {file.stem for file in (REPOSITORY / "policies" / folder).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize(
    ("folder", "members"), [("rules", RULES), ("mutations", [type(m) for m in MUTATIONS])]
)
def test_every_file_is_one_listed_member_of_the_same_name(folder: str, members: list[Any]) -> None:
    assert {member.id.replace("-", "_") for member in members} == modules(folder)
    for member in members:
        assert member.__module__ == f"policies.{folder}.{member.id.replace('-', '_')}"
        assert member.__name__ == "".join(part.capitalize() for part in member.id.split("-"))


def test_ids_are_unique() -> None:
    ids = [rule.id for rule in RULES] + [mutation.id for mutation in MUTATIONS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_says_what_why_and_what_to_write(rule: Any) -> None:
    first, *rest = (rule.__doc__ or "").splitlines()
    assert first.endswith(".")
    assert first.startswith("Warns of " if rule.only_warns else "Refuses ")
    assert any(line.strip().startswith("Why: ") for line in rest)
    assert any(line.strip().startswith("Fix: ") for line in rest)
    assert all(field.description for field in rule.model_fields.values())


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.id)
def test_every_mutation_says_what_it_writes(mutation: Any) -> None:
    assert (mutation.__doc__ or "").splitlines()[0].endswith(".")


LOCKS = {
    "requirements.lock": [],
    "tests/requirements.lock": ["dev", "build"],
    "build.lock": ["build"],
    "tests/e2e/requirements.lock": ["e2e"],
}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_locked_with_hashes(lock: str) -> None:
    content = (REPOSITORY / lock).read_text()
    locked = dict(_NAME.findall(content))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    required = [
        requirement
        for group in LOCKS[lock]
        for requirement in project["dependency-groups"][group]
        if isinstance(requirement, str)
    ]
    if lock in ("requirements.lock", "tests/requirements.lock"):
        required += project["project"]["dependencies"]
    # The lock files have normalized names (PEP 503).
    names = {re.split(r"[\[>=]", requirement)[0].replace(".", "-") for requirement in required}
    assert names <= locked.keys()
    assert "--hash=sha256:" in content
    assert "http:" not in content and "https:" not in content


def test_what_runs_is_the_same_version_as_what_is_tested() -> None:
    locked = {lock: dict(_NAME.findall((REPOSITORY / lock).read_text())).items() for lock in LOCKS}
    assert locked["requirements.lock"] | locked["build.lock"] <= locked["tests/requirements.lock"]


def test_no_file_of_ours_holds_a_key_or_a_token() -> None:
    files = list(repository_files())
    assert len(files) > 100
    assert [str(file) for file in files if leaked(file.read_text(errors="replace"))] == []


def test_admission_and_enrollment_speak_of_the_same_labels() -> None:
    """`policies` and `certs` must not know each other, so each has these words for itself."""
    assert identity._CLUSTER_LABEL == membership.RAY_CLUSTER_LABEL
    assert identity._NODE_TYPE_LABEL == membership.NODE_TYPE_LABEL
    assert identity._CLAIM_LABELS == membership.CLAIM_LABELS
    assert identity._OPT_IN_CLUSTER_LABEL == membership.OPT_IN_CLUSTER_LABEL
    assert identity._OPT_IN_ROLE_LABEL == membership.OPT_IN_ROLE_LABEL
    roles = {str(role) for role in identity.Role}
    assert roles == {str(role) for role in (PodRole.HEAD, PodRole.WORKER, PodRole.CLIENT)}
