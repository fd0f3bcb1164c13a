"""`raywarden policy export`, as administrators run it."""

from pathlib import Path

import yaml

from tests.webhook.commands.test_cli import run, write


def test_policies_go_to_standard_output() -> None:
    process = run("policy", "export")
    assert (process.returncode, process.stderr) == (0, "")
    kinds = {document["kind"] for document in yaml.safe_load_all(process.stdout)}
    assert kinds == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def test_each_policy_gets_a_file_with_its_bindings(tmp_path: Path) -> None:
    policy = write(tmp_path, "policy.yaml", {"rules": {"no-root": {"mode": "warn"}}})
    folder = tmp_path / "policies"
    process = run("policy", "export", "--policy", policy, "--mutations", "-o", str(folder))
    assert (process.returncode, process.stdout) == (0, ""), process.stderr
    documents = list(yaml.safe_load_all((folder / "raywarden-no-root.yaml").read_text()))
    assert [document["kind"] for document in documents] == [
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]
    assert documents[1]["spec"]["validationActions"] == ["Warn"]
    (mutation, _) = yaml.safe_load_all((folder / "raywarden-service-type.yaml").read_text())
    assert mutation["kind"] == "MutatingAdmissionPolicy"


def test_a_wrong_policy_file_is_named(tmp_path: Path) -> None:
    policy = write(tmp_path, "policy.yaml", {"rules": {"no-such-rule": {}}})
    process = run("policy", "export", "--policy", policy)
    assert process.returncode == 2
    assert "no-such-rule" in process.stderr


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    process = run("policy", "export", "-o", str(file))
    assert process.returncode == 2
    assert f"cannot write to {file}" in process.stderr
