"""What a case may say of the request and the cluster, and what it may expect."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import factory, related_objects
from tests.webhook.policy_tests.cases import PUBLIC, run, run_one, session, write
from webhook.policy_tests.report import text
from webhook.policy_tests.results import CaseStatus

PLAIN = factory.ray_cluster()
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
NO_WARNINGS = {"profiles": {"warn": "baseline"}}
EXEMPTION = {
    "rules": ["no-public-head-service"],
    "users": ["alice"],
    "reason": "a demo",
    "until": "2027-01-31",
}
EXEMPTING = {**NO_WARNINGS, "exemptions": [EXEMPTION]}
REFUSED = {"verdict": "denied", "denies": ["no-public-head-service"]}


def named(name: str) -> dict[str, Any]:
    return factory.changed(PLAIN, {"/metadata/name": name})


@pytest.mark.parametrize(
    ("objects", "verdict"),
    [
        ([PLAIN], "allowed"),
        ([PUBLIC], "denied"),
        ([PUBLIC, named("other")], "mixed"),
        ([CONFIG_MAP], "ignored"),
        ([PLAIN, CONFIG_MAP], "allowed"),
    ],
)
def test_the_verdict_is_about_all_objects_of_ray(
    objects: list[Any], verdict: str, tmp_path: Path
) -> None:
    for expected in ("allowed", "denied", "mixed", "ignored"):
        result = run_one(tmp_path, {"objects": objects, "expect": {"verdict": expected}})
        wanted = CaseStatus.PASSED if expected == verdict else CaseStatus.FAILED
        assert result.status is wanted, result


@pytest.mark.parametrize(
    ("expect", "differs"),
    [
        ({"denies": ["no-public-head-service"]}, []),
        ({"denies": []}, ["denies"]),
        ({"denies": ["no-public-head-service", "no-root"]}, ["denies"]),
        ({"contains": {"denies": []}}, []),
        ({"contains": {"denies": ["no-public-head-service"]}}, []),
        ({"contains": {"denies": ["no-root"]}}, ["contains.denies"]),
        ({"warns": []}, []),
        ({"warns": ["no-root"]}, ["warns"]),
        ({"exempts": []}, []),
        ({"contains": {"mutates": ["ray-tls"]}}, []),
        ({"mutates": ["ray-tls"]}, ["mutates"]),
        ({"messages": ["is a LoadBalancer"]}, []),
        ({"messages": ["is a LoadBalancer", "is a NodePort"]}, ["messages"]),
        ({"storedContains": {"metadata": {"labels": {"raywarden.io/tls": "managed"}}}}, []),
        ({"storedContains": {"metadata": {"labels": {"raywarden.io/tls": "x"}}}}, ["stored"]),
        ({"storedContains": {"kind": "RayJob"}}, ["stored"]),
        ({"stored": [PUBLIC]}, ["stored"]),
    ],
)
def test_only_what_is_set_is_compared(
    expect: dict[str, Any], differs: list[str], tmp_path: Path
) -> None:
    result = run_one(tmp_path, {"objects": [PUBLIC], "expect": expect}, policy=NO_WARNINGS)
    fields = [
        difference.field.replace("storedContains", "stored") for difference in result.differences
    ]
    assert (fields, result.problem) == (differs, "")


def test_members_of_lists_are_found_by_their_names(tmp_path: Path) -> None:
    worker = {"groupName": "small", "template": {"spec": {"containers": [{"name": "ray-worker"}]}}}
    for image, status in ((factory.IMAGE, CaseStatus.PASSED), ("other", CaseStatus.FAILED)):
        worker["template"]["spec"]["containers"][0]["image"] = image  # type: ignore[index]  # JSON
        part = {"spec": {"workerGroupSpecs": [worker]}}
        result = run_one(tmp_path, {"objects": [PLAIN], "expect": {"storedContains": part}})
        assert result.status is status
    diff = [line for line in result.diff if line[0] in "+-"][2:]
    assert [line.strip("+- ") for line in diff] == ["image: other", f"image: {factory.IMAGE}"]


@pytest.mark.parametrize(
    ("today", "user", "expect"),
    [
        ("2027-01-31", "alice", {"verdict": "allowed", "exempts": ["no-public-head-service"]}),
        ("2027-02-01", "alice", {**REFUSED, "messages": ["its exemption expired on 2027-01-31"]}),
        ("2027-01-31", "bob", {**REFUSED, "exempts": []}),
    ],
)
def test_exemptions_depend_on_the_day_and_the_user(
    today: str, user: str, expect: dict[str, Any], tmp_path: Path
) -> None:
    case = {"objects": [PUBLIC], "today": today, "user": user, "expect": expect}
    assert run_one(tmp_path, case, policy=EXEMPTING).diff == ()
    of_file = {"today": today, "user": user, "policy": EXEMPTING}
    assert run_one(tmp_path, {"objects": [PUBLIC], "expect": expect}, **of_file).diff == ()
    # What a case says takes precedence over the file.
    assert run_one(tmp_path, case, today="2020-01-01", user="x", policy=EXEMPTING).diff == ()


def test_an_update_is_refused_only_for_what_it_makes_worse(tmp_path: Path) -> None:
    allowed = {"verdict": "allowed", "warns": ["no-public-head-service"]}
    case = {"objects": [PUBLIC], "oldObjects": [PUBLIC], "expect": allowed}
    assert run_one(tmp_path, case, policy=NO_WARNINGS).diff == ()
    case = {"operation": "UPDATE", "objects": [PUBLIC], "oldObjects": [PLAIN], "expect": REFUSED}
    assert run_one(tmp_path, case, policy=NO_WARNINGS).diff == ()


def test_an_update_that_removes_what_makes_a_pod_one_of_ray_is_judged(tmp_path: Path) -> None:
    pod = factory.changed(factory.worker_pod(), {"/metadata/name": "worker"})
    plain = factory.changed(pod, {"/metadata/labels": None, "/metadata/ownerReferences": None})
    case = {"objects": [plain], "oldObjects": [pod], "expect": {"verdict": "denied"}}
    assert run_one(tmp_path, case, policy=NO_WARNINGS).diff == ()
    assert run_one(tmp_path, {"objects": [plain], "expect": {"verdict": "ignored"}}).diff == ()


def test_an_old_object_has_what_raywarden_writes_unless_it_is_older(tmp_path: Path) -> None:
    case = {
        "objects": [PLAIN],
        "oldObjects": [PLAIN],
        "expect": {"contains": {"mutates": ["ray-tls"]}},
    }
    assert run_one(tmp_path, case).diff == ()
    assert run_one(tmp_path, {**case, "oldObjectsMutated": False}).status is CaseStatus.FAILED


def test_what_kuberay_creates_counts_unless_the_case_says_otherwise(tmp_path: Path) -> None:
    own = {
        "id": "own-no-pods",
        "kinds": ["Pod"],
        "expression": "false",
        "message": "no pods",
        "remediation": "remove them",
        "profile": "baseline",
    }
    policy = {**NO_WARNINGS, "expressions": [own]}
    case = {"objects": [PLAIN], "expect": {"denies": ["own-no-pods"]}}
    result = run_one(tmp_path, case, policy=policy)
    assert result.diff == ()
    assert {finding.derived.kind for finding in result.findings if finding.derived} == {"Pod"}
    assert run_one(tmp_path, {**case, "derived": False}, policy=policy).status is CaseStatus.FAILED
    update = {**case, "oldObjects": [PLAIN]}
    assert run_one(tmp_path, update, policy=policy).status is CaseStatus.FAILED
    assert run_one(tmp_path, {**update, "derived": True}, policy=policy).diff == ()


def test_the_cluster_is_what_the_file_and_the_case_say(tmp_path: Path) -> None:
    policy = {"profiles": {"enforce": "baseline", "warn": "baseline"}}
    label = {"raywarden.io/enforce": "restricted"}
    restricted = factory.changed(related_objects.namespace(), {"/metadata/labels": label})
    rule = {"contains": {"denies": ["namespace-quota"]}}
    case: dict[str, Any] = {"objects": [PLAIN], "cluster": [restricted], "expect": rule}
    unknown = run_one(tmp_path, case, policy=policy)
    assert unknown.status is CaseStatus.FAILED
    assert run_one(tmp_path, case, policy=policy, clusterIsComplete=True).diff == ()
    quota = [related_objects.quota()]
    complete = {"policy": policy, "clusterIsComplete": True, "cluster": quota}
    assert run_one(tmp_path, case, **complete).status is CaseStatus.FAILED


def test_the_version_of_kuberay_counts(tmp_path: Path) -> None:
    document = factory.changed(PLAIN, {"/spec/authOptions": None})
    for version, status in (("1.6", CaseStatus.PASSED), ("1.4", CaseStatus.FAILED)):
        expect = {"contains": {"mutates": ["auth-token"]}}
        result = run_one(tmp_path, {"objects": [document], "expect": expect}, kuberay=version)
        assert result.status is status


def test_paths_patterns_and_folders_name_objects(tmp_path: Path) -> None:
    charts = tmp_path / "charts" / "a"
    charts.mkdir(parents=True)
    (charts / "one.yaml").write_text(yaml.safe_dump_all([PUBLIC, CONFIG_MAP]))
    (charts / "two.json").write_text(yaml.safe_dump(named("other")))
    (charts / "values.yaml").write_text("replicas: 1\n")
    (charts / "policy.yaml").write_text("apiVersion: raywarden.io/v1alpha1\nkind: Policy\n")
    (charts / "raywarden-test.yaml").write_text("kind: PolicyTest\n")
    tests = tmp_path / "tests"
    tests.mkdir()
    for source, verdict in (
        ("../charts/a/one.yaml", "denied"),
        ("../charts/a/*", "mixed"),
        ("../charts/**/*.json", "allowed"),
        ("../charts/../charts/a/[o]ne.yaml", "denied"),
    ):
        case = {"objects": [source], "expect": {"verdict": verdict}}
        assert run_in(tests, tmp_path, case) == []


def run_in(folder: Path, root: Path, case: dict[str, Any]) -> list[str]:
    write(folder, {"name": "case", **case})
    (result,) = session(root).run([folder]).cases
    return [*result.diff, *filter(None, [result.problem])]


def test_the_report_explains_a_difference(tmp_path: Path) -> None:
    expect = {"verdict": "allowed", "denies": [], "warns": []}
    ran = run(
        tmp_path,
        {"name": "refused", "objects": [PUBLIC], "expect": REFUSED},
        {"name": "open", "objects": [PUBLIC], "expect": expect},
        policy=NO_WARNINGS,
    )
    first, second, *lines, totals = text(ran)
    assert first.startswith("ok ") and first.endswith(": refused")
    assert second.startswith("FAIL ") and second.endswith(": open")
    assert [line.strip() for line in lines] == [
        "--- expected",
        "+++ actual",
        "@@ -1,2 +1,3 @@",
        "-verdict: allowed",
        "-denies: []",
        "+verdict: denied",
        "+denies:",
        "+  - no-public-head-service",
        "denies no-public-head-service: the head service is a LoadBalancer that accepts traffic "
        "from any address (RayCluster team-a/demo)",
    ]
    assert totals == "1 passed, 1 failed, 0 unreadable"
