"""The command line as people and CI jobs run it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.policies.network.test_needs import GUIDE, LABELED
from tests.support import factory, related_objects
from tests.support.paths import EXAMPLES, REPOSITORY


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "webhook", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write(folder: Path, name: str, *documents: Any) -> str:
    file = folder / name
    file.write_text(yaml.safe_dump_all(documents))
    return str(file)


PUBLIC = factory.changed(factory.ray_cluster(), {"/spec/headGroupSpec/serviceType": "LoadBalancer"})
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def test_clean_manifests_exit_with_0(tmp_path: Path) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "ray", "namespace": "team-a"},
        "spec": {"hard": {"memory": "64Gi"}},
    }
    related = (related_objects.network_policy(), quota, CONFIG_MAP)
    file = write(tmp_path, "a.yaml", factory.ray_cluster(), *related)
    ended = run("review", "--verbose", file)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0].endswith("a.yaml: RayCluster team-a/demo: allowed")
    summary = "2 reviewed, 0 denied, 0 warnings, 0 unreadable, 2 skipped (not Ray)"
    assert ended.stdout.splitlines()[-1] == summary


def test_facts_that_are_unknown_offline_are_reported(tmp_path: Path) -> None:
    ended = run("review", write(tmp_path, "a.yaml", factory.ray_cluster()))
    assert ended.returncode == 0, ended.stderr
    assert "the quotas of the namespace team-a are unknown to RayWarden" in ended.stdout


def test_the_policies_of_a_guide_get_findings(tmp_path: Path) -> None:
    """Pods under them get no certificate, as `tests.e2e.test_guide` shows."""
    policies = [
        {**related_objects.network_policy(), "metadata": metadata, **document}
        for number, document in enumerate(yaml.safe_load_all(GUIDE))
        for metadata in [{"name": f"guide-{number}", "namespace": "team-a"}]
    ]
    ended = run("review", write(tmp_path, "a.yaml", LABELED, *policies))
    findings = {line.strip() for line in ended.stdout.splitlines() if "needed-traffic" in line}
    for closed in ("egress to DNS for the head", "egress to enrollment for the head"):
        assert any(closed in finding for finding in findings), ended.stdout
    assert len(findings) >= 3


def test_a_denied_manifest_exits_with_1_and_prints_the_fix(tmp_path: Path) -> None:
    ended = run("review", write(tmp_path, "a.yaml", factory.ray_cluster(), PUBLIC))
    assert ended.returncode == 1
    assert re.search(
        "^.*/a.yaml:[0-9]+:[0-9]+: error no-public-head-service: the head service is a "
        r"LoadBalancer that accepts traffic from any address \(RayCluster team-a/demo\)"
        "\n    Fix: set serviceType: ClusterIP",
        ended.stdout,
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.yaml", b"a: [1", "did not find expected"),
        ("a.yaml", b"a: {{ .Values.a }}", "a key is a list or a mapping"),
        ("a.yaml", b"\xff\xfe", "not UTF-8 text"),
        (
            "a.json",
            b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}',
            "request: Field required",
        ),
        ("a.yaml", b"[" * 100_000, "nested deeper than 100 levels"),
    ],
)
def test_an_unreadable_file_exits_with_2_and_prints_the_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    write(tmp_path, "b.yaml", PUBLIC)
    ended = run("review", str(tmp_path))
    assert ended.returncode == 2
    assert f"{file}: could not be read: " in ended.stdout and reason in ended.stdout
    assert "1 reviewed, 1 denied" in ended.stdout, "the other manifests are still reviewed"


@pytest.mark.parametrize(
    ("source", "reason"),
    [("nowhere.yaml", "No such file or directory"), (".", "contains no Kubernetes object")],
)
def test_a_source_without_manifests_is_an_error(tmp_path: Path, source: str, reason: str) -> None:
    ended = run("review", str(tmp_path / source))
    assert ended.returncode == 2
    assert f"could not be read: {reason}" in ended.stdout


def test_files_of_a_folder_without_objects_are_skipped_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "raycluster.yaml", factory.ray_cluster())
    write(tmp_path, "Chart.yaml", {"apiVersion": "v2", "name": "ray", "version": "1.0.0"})
    write(tmp_path, "values.yaml", {"replicaCount": 2})
    ended = run("review", str(tmp_path))
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.splitlines()[-1].endswith("0 unreadable, 2 skipped (not Ray)")


@pytest.mark.parametrize("stdin", ["", "# nothing\n---\n", "replicas: 3\n"])
def test_an_empty_pipe_is_an_error(stdin: str) -> None:
    ended = run("review", "-", stdin=stdin)
    assert ended.returncode == 2
    assert "-: could not be read: contains no Kubernetes object" in ended.stdout


@pytest.mark.parametrize(
    "content", ["kind: RayCluster\n", "just text\n", "[1, 2]\n", "apiVersion: v1\nkind: [a]\n"]
)
def test_a_document_that_is_not_a_kubernetes_object_is_an_error(content: str) -> None:
    ended = run("review", "-", stdin=content)
    assert ended.returncode == 2
    assert "not a Kubernetes object: set apiVersion and kind" in ended.stdout


def test_a_values_file_beside_manifests_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, "values.yaml", {"replicas": 3})
    write(tmp_path, "a.yaml", factory.ray_cluster())
    assert run("review", str(tmp_path)).returncode == 0


def test_include_derived_needs_patch() -> None:
    ended = run("review", "--include-derived", "deploy/examples")
    assert ended.returncode == 2
    assert "--include-derived needs --patch" in ended.stderr


def test_standard_input_accepts_the_output_of_helm() -> None:
    rendered = (
        f"---\n# Source: ray/templates/a.yaml\n{yaml.safe_dump(PUBLIC)}"
        "---\n# Source: ray/templates/empty.yaml\n---\n"
    )
    ended = run("review", "-", stdin=rendered)
    assert ended.returncode == 1
    place = r"^stdin:[0-9]+:[0-9]+ \(ray/templates/a.yaml\): error no-public-head-service: "
    assert re.search(place, ended.stdout, re.MULTILINE)


def test_the_items_of_lists_are_reviewed(tmp_path: Path) -> None:
    inner = {"apiVersion": "ray.io/v1", "kind": "RayClusterList", "items": [PUBLIC]}
    outer = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [CONFIG_MAP, inner, factory.ray_cluster()],
    }
    ended = run("review", "-o", "json", write(tmp_path, "a.yaml", outer))
    sources = [reviewed["source"] for reviewed in json.loads(ended.stdout)["objects"]]
    assert [source.rpartition("#")[2] for source in sources] == ["2", "3"]


def test_programs_get_json(tmp_path: Path) -> None:
    ended = run("review", "--output", "json", write(tmp_path, "a.yaml", PUBLIC))
    report = json.loads(ended.stdout)
    (reviewed,) = report["objects"]
    assert reviewed["allowed"] is False
    assert reviewed["mutations"] == [
        "pod-security",
        "node-ip-address",
        "token-automount",
        "managed-isolation",
        "ray-tls",
    ]
    finding = reviewed["findings"][0]
    assert finding["rule"] == "no-public-head-service"
    assert finding["pointer"] == "/spec/headGroupSpec/serviceType"
    text = (tmp_path / "a.yaml").read_text().splitlines()[finding["place"]["line"] - 1]
    assert text[finding["place"]["column"] - 1 :] == "LoadBalancer"
    assert [derived["name"] for derived in reviewed["derived"]] == [
        "demo-head-",
        "demo-small-worker-",
    ]
    assert report["summary"]["denied"] == 1


def test_patch_prints_only_manifests(tmp_path: Path) -> None:
    ended = run("review", "--patch", write(tmp_path, "a.yaml", factory.ray_cluster()))
    (document,) = yaml.safe_load_all(ended.stdout)
    head = document["spec"]["headGroupSpec"]["template"]["spec"]
    assert head["initContainers"][0]["name"] == "raywarden-enroll"
    assert "&id" not in ended.stdout
    assert "1 reviewed" in ended.stderr
    again = run("review", "--verbose", "-", stdin=ended.stdout)
    assert again.returncode == 0
    assert "inject" not in again.stdout.splitlines()[1]


def test_patch_can_include_the_objects_that_kuberay_creates_from_a_job(tmp_path: Path) -> None:
    ended = run(
        "review", "--patch", "--include-derived", write(tmp_path, "a.yaml", factory.ray_job())
    )
    kinds = [document["kind"] for document in yaml.safe_load_all(ended.stdout)]
    assert kinds == ["RayJob", "RayCluster", "Pod", "Pod", "Pod"]


def test_a_namespace_beside_the_manifests_selects_the_profile(tmp_path: Path) -> None:
    cluster = factory.with_own_tls(factory.ray_cluster())
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "team-a", "labels": {}},
    }
    assert run("review", write(tmp_path, "a.yaml", cluster, namespace)).returncode == 0
    namespace["metadata"] = {"name": "team-a", "labels": {"raywarden.io/enforce": "restricted"}}
    ended = run("review", write(tmp_path, "a.yaml", cluster, namespace))
    assert ended.returncode == 1
    assert "tls-on" in ended.stdout


def test_a_policy_file_replaces_the_default_policy(tmp_path: Path) -> None:
    manifest = write(tmp_path, "a.yaml", PUBLIC)
    policy = write(tmp_path, "policy.yaml", {"rules": {"no-public-head-service": {"mode": "warn"}}})
    assert run("review", "--policy", policy, manifest).returncode == 0
    policy = write(tmp_path, "policy.yaml", {"rules": {"no-such": {}}})
    ended = run("review", "--policy", policy, manifest)
    assert ended.returncode == 2
    assert f"raywarden: {policy}:2:3: rules.no-such: no rule is called no-such" in ended.stderr


def test_admission_reviews_can_be_reviewed_again() -> None:
    ended = run("review", *map(str, sorted(EXAMPLES.glob("*.json"))))
    assert ended.returncode == 1
    assert "8 reviewed, 4 denied" in ended.stdout


def test_rules_are_listed() -> None:
    output = run("rules").stdout
    assert re.search("^no-host-access +baseline ", output, re.MULTILINE)
    assert re.search("^ray-tls +mutation", output, re.MULTILINE)


def test_the_version_is_the_version_of_the_package() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert run("--version").stdout == f"raywarden {version}\n"


def test_other_kinds_of_network_policy_are_said_to_be_unknown(tmp_path: Path) -> None:
    cilium = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "a"},
        "spec": {"endpointSelector": {}, "ingress": [{}]},
    }
    calico = {**cilium, "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy"}
    file = write(tmp_path, "a.yaml", cilium, calico, related_objects.network_policy())
    notes = [line for line in run("review", file).stdout.splitlines() if line.startswith("note:")]
    assert [note.partition(":")[2].partition(":")[0] for note in notes] == [
        " CiliumNetworkPolicy (cilium.io)",
        " NetworkPolicy (projectcalico.org)",
    ]


def test_a_review_for_a_version_of_kuberay(tmp_path: Path) -> None:
    cluster = factory.ray_cluster(networkPolicy={"mode": "DenyAll"})
    file = write(tmp_path, "a.yaml", cluster)
    assert "ignores it" in run("review", file, "--kuberay", "1.6").stdout
    gate = ("--kuberay-feature-gates", "RayClusterNetworkPolicy=true")
    for arguments in ((), ("--kuberay", "1.7", *gate)):
        assert "spec.networkPolicy" not in run("review", file, *arguments).stdout
    for wrong in (("--kuberay", "new"), gate):
        ended = run("review", file, *wrong)
        assert ended.returncode == 2 and "--kuberay" in ended.stderr
