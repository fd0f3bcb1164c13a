"""Every finding names the place its author wrote, in whatever form the manifest is written."""

import json
from functools import partial
from pathlib import Path

import pytest
import yaml

from policies.config import Policy
from policies.documents.pointer import ROOT, Pointer
from tests.support import factory
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest, read
from webhook.offline import offline_reviewer
from webhook.review.authored import authored_pointer
from webhook.review.finding import ReviewFinding
from webhook.review.run import ReadSources, ReviewBasis, review_manifests
from webhook.settings import Settings

CLUSTER = """\
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: demo, namespace: team-a}
spec:
  rayVersion: "2.58.0"
  headGroupSpec:
    serviceType: LoadBalancer # public
    rayStartParams: {}
    template:
      spec:
        initContainers:
          - name: own
            image: example.com/own:1.0
            securityContext:
              privileged: true
        containers:
          - name: ray-head
            image: rayproject/ray:2.58.0
"""
JOB = """\
apiVersion: ray.io/v1
kind: RayJob
metadata: {name: job, namespace: team-a}
spec:
  entrypoint: python a.py
  rayClusterSpec:
    rayVersion: "2.58.0"
    headGroupSpec:
      rayStartParams: {}
      template:
        spec:
          containers:
            - name: ray-head
              image: rayproject/ray:2.58.0
  submitterPodTemplate:
    spec:
      containers:
        - name: submitter
          image: example.com/own:1.0
          securityContext: {privileged: true}
"""


NEW_REVIEWER = partial(
    offline_reviewer, Settings(), Policy.parse({"profiles": {"enforce": "restricted"}})
)


def findings(folder: Path, text: str, name: str = "a.yaml") -> list[ReviewFinding]:
    file = folder / name
    file.write_bytes(text.encode())
    run = review_manifests(ReadSources.of([str(file)]), ReviewBasis(NEW_REVIEWER))
    assert not run.results.unreadable
    return list(run.results.findings)


def line_of(found: list[ReviewFinding], rule: str, text: str) -> str:
    """The rest of the line at the place of the first finding of a rule."""
    place = next(finding.place for finding in found if finding.rule == rule)
    return text.splitlines()[place.line - 1][place.column - 1 :]


def test_the_place_is_that_of_the_value(tmp_path: Path) -> None:
    found = findings(tmp_path, CLUSTER)
    assert line_of(found, "no-public-head-service", CLUSTER) == "LoadBalancer # public"


def test_injected_containers_do_not_move_places(tmp_path: Path) -> None:
    """RayWarden's init container comes before the author's."""
    found = findings(tmp_path, CLUSTER)
    assert line_of(found, "no-privileged", CLUSTER) == "true"
    (finding,) = (finding for finding in found if finding.rule == "no-privileged")
    assert finding.pointer[-4:] == ("initContainers", 0, "securityContext", "privileged")


def test_a_missing_field_has_the_place_of_its_parent(tmp_path: Path) -> None:
    found = findings(tmp_path, CLUSTER)
    assert line_of(found, "resource-limits", CLUSTER) == "name: ray-head"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_documents_are_told_apart(tmp_path: Path, newline: str) -> None:
    text = f"# one\n---\n{CLUSTER}---\n# two\n{CLUSTER.replace('demo', 'other')}"
    found = findings(tmp_path, text.replace("\n", newline))
    lines = [item.place.line for item in found if item.rule == "no-public-head-service"]
    assert lines == [9, 9 + CLUSTER.count("\n") + 2]


def test_items_of_a_list_have_their_own_places(tmp_path: Path) -> None:
    items = "".join(
        "  - " + CLUSTER.replace("demo", name).replace("\n", "\n    ").rstrip() + "\n"
        for name in ("one", "two")
    )
    text = f"apiVersion: v1\nkind: List\nitems:\n{items}"
    found = findings(tmp_path, text)
    public = [finding for finding in found if finding.rule == "no-public-head-service"]
    lines = [text.splitlines()[finding.place.line - 1].strip() for finding in public]
    assert lines == ["serviceType: LoadBalancer # public"] * 2
    assert public[0].place.line < public[1].place.line


def test_json_has_places(tmp_path: Path) -> None:
    text = json.dumps(yaml.safe_load(CLUSTER), indent="\t")
    found = findings(tmp_path, text, "a.json")
    assert line_of(found, "no-public-head-service", text) == '"LoadBalancer",'


def test_a_value_of_an_anchor_has_the_place_of_the_alias(tmp_path: Path) -> None:
    text = CLUSTER.replace("spec:\n  rayV", "spec:\n  x: &type LoadBalancer\n  rayV").replace(
        "serviceType: LoadBalancer", "serviceType: *type"
    )
    assert line_of(findings(tmp_path, text), "no-public-head-service", text) == "*type # public"


def test_helm_names_the_template(tmp_path: Path) -> None:
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    first, second = (f"---\n# Source: ray/templates/{name}.yaml\n" for name in "ab")
    text = f"{first}{other}{second}{CLUSTER}"
    assert {finding.place.template for finding in findings(tmp_path, text)} == {
        "ray/templates/b.yaml"
    }


@pytest.mark.parametrize("padding", ["", "# " + "x" * 300_000 + "\n"], ids=["short", "long"])
def test_each_document_has_its_own_template(tmp_path: Path, padding: str) -> None:
    """Positions of long texts are read anew; a template must not outlive its document."""
    text = "".join(
        f"---\n# Source: ray/templates/{name}.yaml\n{CLUSTER.replace('demo', name)}"
        for name in ("one", "two")
    )
    found = findings(tmp_path, text + padding)
    named = {(finding.subject.name, finding.place.template) for finding in found}
    assert named == {("one", "ray/templates/one.yaml"), ("two", "ray/templates/two.yaml")}


def test_what_kuberay_creates_has_the_place_it_comes_from(tmp_path: Path) -> None:
    found = findings(tmp_path, JOB)
    assert line_of(found, "no-privileged", JOB) == "true}"
    (manifest,) = (result for result in read(str(tmp_path / "a.yaml")))
    assert isinstance(manifest, Manifest)
    reviewed = review_manifest(factory.reviewer(), manifest, "default")
    assert reviewed
    cluster, head, submitter = reviewed.derived
    assert (cluster.kind, head.kind, submitter.kind) == ("RayCluster", "Pod", "Pod")
    image = ROOT / "spec" / "containers" / 0 / "image"
    template = ROOT / "spec" / "rayClusterSpec" / "headGroupSpec" / "template"
    assert authored_pointer(head, image) == Pointer((*template, *image))
    assert authored_pointer(head, ROOT / "spec" / "initContainers" / 0) == Pointer(
        (*template, "spec", "initContainers")
    ), "RayWarden's container is not in the manifest"
    assert authored_pointer(submitter, image) == Pointer(("spec", "submitterPodTemplate", *image))
    assert authored_pointer(cluster, ROOT / "spec" / "rayVersion") == Pointer(
        ("spec", "rayClusterSpec", "rayVersion")
    )
    assert authored_pointer(head, ROOT / "metadata" / "name") == Pointer(
        (*template, "metadata", "name")
    )


def test_a_recorded_review_has_the_place_in_its_object(tmp_path: Path) -> None:
    text = json.dumps(factory.review(yaml.safe_load(CLUSTER)), indent=2)
    found = findings(tmp_path, text, "a.json")
    assert line_of(found, "no-public-head-service", text) == '"LoadBalancer",'


def test_a_fingerprint_survives_moved_lines_and_new_members(tmp_path: Path) -> None:
    moved = CLUSTER.replace("spec:\n  rayV", "spec:\n  # comment\n\n  rayV").replace(
        "          - name: own\n",
        "          - {name: new, image: 'example.com/own:1.0'}\n          - name: own\n",
    )
    before, after = (findings(tmp_path, text) for text in (CLUSTER, moved))
    old = {finding.fingerprint for finding in before}
    assert old < {finding.fingerprint for finding in after}
    assert len(old) == len(before)


def test_an_object_that_stands_twice_has_two_fingerprints(tmp_path: Path) -> None:
    found = findings(tmp_path, f"{CLUSTER}---\n{CLUSTER}")
    assert len({finding.fingerprint for finding in found}) == len(found)


def test_a_fingerprint_does_not_depend_on_how_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = findings(tmp_path, CLUSTER)
    monkeypatch.chdir(tmp_path)
    relative = findings(Path("."), CLUSTER)
    monkeypatch.undo()
    assert absolute[0].fingerprint != relative[0].fingerprint
    monkeypatch.chdir(tmp_path)
    again = findings(tmp_path, CLUSTER)
    assert [item.fingerprint for item in again] == [item.fingerprint for item in relative]


def test_places_in_a_long_text_are_those_in_a_short_one(tmp_path: Path) -> None:
    """The positions of a long text are not kept when it is read."""
    text = f"{CLUSTER}---\n{JOB}"
    short = findings(tmp_path, text)
    long = findings(tmp_path, text + "# long\n" * 50_000)
    assert [(item.rule, item.place) for item in long] == [(item.rule, item.place) for item in short]


def test_a_text_that_is_broken_after_an_object_has_its_places(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"{CLUSTER}---\na: [\n")
    run = review_manifests(ReadSources.of([str(file)]), ReviewBasis(NEW_REVIEWER))
    assert len(run.results.unreadable) == 1
    (public,) = (item for item in run.results.findings if item.rule == "no-public-head-service")
    assert public.place.line == 7


def test_a_comment_does_not_give_a_file_the_fingerprints_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {finding.fingerprint for finding in findings(Path("."), CLUSTER)}
    Path("other").mkdir()
    spoofed = findings(Path("other"), f"# Source: a.yaml\n{CLUSTER}")
    assert spoofed and not known & {finding.fingerprint for finding in spoofed}


def test_positions_are_read_for_any_order_of_documents(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"{CLUSTER}---\n{CLUSTER}")
    manifest = next(read(str(file)))
    assert isinstance(manifest, Manifest) and manifest.written
    text = manifest.written.text
    second, first = text.position(1, ("spec",)), text.position(0, ("spec",))
    assert (first.line, second.line) == (5, 5 + CLUSTER.count("\n") + 1)
