"""The remedies of every rule, carried out in files and reviewed again."""

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import yaml

from policies.config import Policy
from policies.remedies.grammar import Choice
from tests.policies.remedies.test_grammar import CHOOSING, LEFT, SAFE
from tests.policies.rules.test_rules import ALL, admitted, load
from tests.support import factory
from tests.support.paths import REPOSITORY
from webhook import offline
from webhook.fixes.mend import Mender, Mending, Review
from webhook.fixes.proposals import NEEDS_AUTHOR, NEEDS_CHOICE
from webhook.manifests.read import Manifest, objects
from webhook.review.run import ReadSources, ReviewBasis, ReviewRun, review_manifests
from webhook.settings import Settings

RESTRICTED = {"profiles": {"enforce": "restricted"}}
_EXAMPLES = REPOSITORY.glob("policies/examples/*/refused.yaml")
# Each of them says that the remedy was not tried, not that it went wrong.
_NOT_TRIED = (
    NEEDS_AUTHOR,
    "RayWarden cannot tell where the manifest says this",
    "these manifests have another object of the same name",
)


def reviewing(policy: dict[str, Any]) -> Review:
    new_reviewer = partial(offline.offline_reviewer, Settings(), Policy.parse(policy))

    def review(manifests: Sequence[Manifest]) -> ReviewRun:
        return review_manifests(ReadSources(manifests), ReviewBasis(new_reviewer))

    return review


def mend(policy: dict[str, Any], most: Choice, **texts: str) -> Mending:
    """Mend texts, by the names of their files."""
    return mend_files(policy, most, texts, {})


def mend_files(
    policy: dict[str, Any], most: Choice, texts: Mapping[str, str], kept: Mapping[str, str]
) -> Mending:
    review = reviewing(policy)
    found = [item for name, text in texts.items() for item in objects(name, text.encode())]
    run = review([item for item in found if isinstance(item, Manifest)])
    return Mender(review, most, kept).mend(run)


def mended(mending: Mending) -> str:
    """The only text that changed."""
    (file,) = mending.files
    return file.after.decode()


def commented(document: Any, number: int) -> str:
    """A document with a comment at the end of each line that can have one."""
    lines = yaml.safe_dump(document, sort_keys=False, width=1000).splitlines()
    for index, line in enumerate(lines):
        is_simple = re.fullmatch(r"[\s-]*[\w./]+:( [\w./:-]+)?", line)
        lines[index] = f"{line}  # c{number}.{index}" if is_simple else line
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("rule", sorted(SAFE | CHOOSING))
def test_denied_fixtures_are_mended(rule: str) -> None:
    fixed = 0
    files = [file for file in ALL if file.match(f"{rule}/denied/*.yaml")]
    # Some of each kind are enough: the texts of remedies are compared elsewhere.
    for file in files[:: len(files) // 8 + 1]:
        fixture = load(file)
        if fixture.before is None:
            document, _ = admitted(fixture)
            policy = {"profiles": {"enforce": fixture.enforce}, **fixture.policy}
            documents = enumerate([document, *fixture.related_objects])
            text = "---\n".join(commented(document, number) for number, document in documents)
            fixed += _mend_once(policy, text, rule)
    assert fixed > 0


def _mend_once(policy: dict[str, Any], text: str, rule: str) -> int:
    """How many findings of the rule were fixed; the rest is left for a reason, and stays so."""
    mending = mend(policy, Choice.VALUE, file=text)
    left = [reason for finding, reason in mending.left if finding.rule == rule]
    assert all(reason in _NOT_TRIED for reason in left), left
    if not mending.files:
        return 0
    after = mended(mending)
    again = mend(policy, Choice.VALUE, file=after)
    assert again.files == ()
    _only_comments_of_changed_lines_are_gone(text, after)
    return sum(finding.rule == rule for finding in mending.files[0].findings)


def _only_comments_of_changed_lines_are_gone(before: str, after: str) -> None:
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    gone = re.findall(r"# c[\d.]+", "\n".join(line for line in lines if line[0] == "-"))
    kept = [comment for comment in re.findall(r"# c[\d.]+", before) if comment not in gone]
    assert [item for item in re.findall(r"# c[\d.]+", after) if item not in gone] == kept


def test_enough_rules_can_be_fixed() -> None:
    assert len(SAFE | CHOOSING) >= 20 and not LEFT & (SAFE | CHOOSING)


PUBLIC = factory.changed(factory.ray_cluster(), {"/spec/headGroupSpec/serviceType": "NodePort"})
ROOT_USER = factory.changed(
    factory.ray_cluster(),
    {"/spec/headGroupSpec/template/spec/containers/0/securityContext": {"runAsUser": 0}},
)


def text_of(*documents: Any) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)


def test_safe_remedies_choose_no_value() -> None:
    text = text_of(PUBLIC, ROOT_USER)
    safe = mend(RESTRICTED, Choice.NONE, file=text)
    assert "serviceType: ClusterIP" in mended(safe) and "runAsUser: 0" in mended(safe)
    assert NEEDS_CHOICE in {reason for finding, reason in safe.left if finding.rule == "no-root"}
    assert "runAsUser: 1000" in mended(mend(RESTRICTED, Choice.VALUE, file=text))


def test_an_object_in_a_list_and_what_kuberay_creates_are_mended_where_they_are_written() -> None:
    job = factory.changed(
        factory.ray_job(),
        {"/spec/rayClusterSpec/headGroupSpec/template/spec/hostNetwork": True},
    )
    items = {"apiVersion": "v1", "kind": "List", "items": [PUBLIC, job]}
    after = yaml.safe_load(mended(mend(RESTRICTED, Choice.NONE, file=text_of(items))))
    cluster, job = after["items"]
    assert cluster["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    spec = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert "hostNetwork" not in spec


def test_json_is_mended_as_json() -> None:
    text = '{"kind": "RayCluster", "apiVersion": "ray.io/v1",\n "metadata": {"name": "a"},\n'
    text += ' "spec": {"headGroupSpec": {"serviceType": "NodePort"}}}\n'
    after = mended(mend(RESTRICTED, Choice.NONE, file=text))
    assert '"headGroupSpec": {"serviceType": "ClusterIP", "template": ' in after
    assert after.splitlines()[:2] == text.splitlines()[:2]


def test_a_new_object_is_written_once_for_all_files() -> None:
    quotas = mend(RESTRICTED, Choice.VALUE, a=text_of(PUBLIC), b=text_of(ROOT_USER))
    texts = [file.after.decode() for file in quotas.files]
    assert sum(text.count("kind: ResourceQuota") for text in texts) == 1
    assert "namespace: team-a" in texts[0].partition("kind: ResourceQuota")[2]


def test_what_a_first_remedy_uncovers_is_mended_too() -> None:
    file = next(file for file in ALL if file.match("no-open-ingress/denied/satisfy-any.yaml"))
    document, _ = admitted(load(file))
    canary = "/metadata/annotations/nginx.ingress.kubernetes.io~1canary"
    ingress = factory.changed(document, {canary: "true"})
    mending = mend(RESTRICTED, Choice.NONE, file=text_of(ingress))
    findings = mending.files[0].findings
    assert [finding.rule for finding in findings] == ["no-open-ingress"]
    assert "canary" not in mended(mending) and "satisfy" not in mended(mending)
    assert mending.left == ()


def test_a_container_that_kuberay_adds_is_mended_in_its_options() -> None:
    spec = "/spec/rayClusterConfig/headGroupSpec/template/spec"
    changes = {
        "/spec/rayClusterConfig/enableInTreeAutoscaling": True,
        f"{spec}/containers/0/image": "registry.example/own:2.60.0",
    }
    service = factory.changed(factory.ray_service(), changes)
    mending = mend(RESTRICTED, Choice.VALUE, file=text_of(service))
    assert mending.left == ()
    config = next(yaml.safe_load_all(mended(mending)))["spec"]["rayClusterConfig"]
    (container,) = config["headGroupSpec"]["template"]["spec"]["containers"]
    safe = {"runAsNonRoot": True, "runAsUser": 1000}
    assert container["securityContext"] == safe
    assert config["autoscalerOptions"]["securityContext"] == safe


def test_objects_of_the_same_name_are_all_mended() -> None:
    after = mended(mend(RESTRICTED, Choice.NONE, file=text_of(PUBLIC, PUBLIC, PUBLIC)))
    assert after.count("serviceType: ClusterIP") == 3


def test_an_entry_is_appended_to_another_file() -> None:
    fixture = load(next(file for file in ALL if file.match("*/denied/egress-of-a-cluster.yaml")))
    document, _ = admitted(fixture)
    related = text_of(*fixture.related_objects)
    mending = mend(RESTRICTED, Choice.VALUE, cluster=text_of(document), policies=related)
    after = {file.name: file.after.decode() for file in mending.files}
    assert "port: 53" in after["policies"]
    assert not any(finding.rule == "needed-traffic" for finding, _ in mending.left)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: '{{ .Values.a }}'\n", "it has {{ }}, as templates do"),
        ("# x\u2028\n", "it has line ends other than LF and CRLF"),
    ],
)
def test_a_text_that_is_left(text: str, reason: str) -> None:
    mending = mend(RESTRICTED, Choice.NONE, file=text_of(PUBLIC) + text)
    assert mending.files == ()
    assert any(why.startswith(reason) for _, why in mending.left)


def test_braces_in_a_comment_are_no_template() -> None:
    assert mend(RESTRICTED, Choice.NONE, file=f"# {{{{ x }}}}\n{text_of(PUBLIC)}").files


def test_a_file_that_is_kept() -> None:
    mending = mend_files(RESTRICTED, Choice.NONE, {"file": text_of(PUBLIC)}, {"file": "it is kept"})
    assert mending.files == () and "it is kept" in {why for _, why in mending.left}


def test_a_shared_value_is_left_and_said() -> None:
    text = text_of(PUBLIC).replace("serviceType: NodePort", "serviceType: &type NodePort")
    text = text.replace("metadata:\n", "metadata:\n  annotations: {type: *type}\n", 1)
    head, _, spec = text.partition("spec:\n")
    metadata = head.partition("metadata:\n")[2]
    moved = head.replace(f"metadata:\n{metadata}", "") + f"spec:\n{spec}metadata:\n{metadata}"
    mending = mend(RESTRICTED, Choice.NONE, file=moved)
    assert mending.files == ()
    assert "other places share the value by the anchor &type" in {why for _, why in mending.left}


def test_a_recorded_review_and_a_rule_of_an_administrator_are_left() -> None:
    request = {"uid": "1", "kind": {"group": "ray.io", "version": "v1", "kind": "RayCluster"}}
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {**request, "operation": "CREATE", "userInfo": {}, "object": PUBLIC},
    }
    mending = mend(RESTRICTED, Choice.VALUE, file=text_of(review))
    assert mending.files == ()
    assert "it is a recorded AdmissionReview" in {why for _, why in mending.left}
    own = {
        "id": "own-rule",
        "kinds": ["RayCluster"],
        "expression": "false",
        "message": "own message",
        "remediation": "set suspend: true",
    }
    policy = {"profiles": {"enforce": "baseline"}, "expressions": [own]}
    mending = mend(policy, Choice.VALUE, file=text_of(factory.ray_cluster()))
    assert [why for finding, why in mending.left if finding.rule == "own-rule"] == [NEEDS_AUTHOR]


def test_examples_of_all_rules_are_mended_at_once_and_once() -> None:
    """As one folder: many files, and findings that depend on each other."""
    texts = {file.parent.name: file.read_text() for file in sorted(_EXAMPLES)}
    mending = mend(RESTRICTED, Choice.VALUE, **texts)
    assert len(mending.files) > 20
    texts |= {file.name: file.after.decode() for file in mending.files}
    assert mend(RESTRICTED, Choice.VALUE, **texts).files == ()
