"""`raywarden network-policy` as people run it on manifests."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner, Result

from policies.network.parties import PodParty
from policies.network.policy import Direction, NetworkPolicy
from policies.network.ports import Ports, common
from policies.network.reachability import Policies
from tests.support.factory import Object, changed, ray_cluster, ray_job
from tests.webhook.commands.test_cli import write
from webhook.commands.cli import command_line
from webhook.settings import SetupError

HEAD = {"ray.io/cluster": "demo", "ray.io/node-type": "head", "ray.io/group": "headgroup"}
WORKER = {"ray.io/cluster": "demo", "ray.io/node-type": "worker", "ray.io/group": "small"}


@pytest.fixture(autouse=True)
def own_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in this process, whose other tests read the log."""
    monkeypatch.setattr("webhook.server.observer.set_up_logging", lambda level: None)


def run(*arguments: str, stdin: str = "") -> Result:
    app = command_line(["network-policy"])
    return CliRunner().invoke(app, ["network-policy", *arguments], input=stdin)


def printed(*arguments: str) -> list[Object]:
    ended = run(*arguments)
    assert ended.exit_code == 0, ended.output
    documents = list(yaml.safe_load_all(ended.stdout))
    for document in documents:
        kubernetes_validate.validate(document, "1.37", strict=True)
    return documents


def ports(documents: list[Object], pod: Object, client: PodParty) -> Ports:
    """The TCP ports of a pod of the cluster that a client certainly reaches."""
    policies = Policies([NetworkPolicy(document) for document in documents])
    target = PodParty("team-a", pod)
    return policies.reach(target, Direction.INGRESS, client).certainly


def numbers(*single: int) -> Ports:
    return tuple(range(number, number + 1) for number in single)


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    return write(tmp_path, "cluster.yaml", ray_cluster())


NOTEBOOK = PodParty("notebooks", {"app": "jupyter"})
PROMETHEUS = PodParty("monitoring", {"app.kubernetes.io/name": "prometheus"})
NOBODY = PodParty("other", {"app": "x"})
OPERATOR = PodParty("kuberay-system", {"app.kubernetes.io/component": "kuberay-operator"})


def test_by_default_nobody_but_members_and_the_operator_gets_in(cluster: str) -> None:
    documents = printed(cluster)
    assert ports(documents, HEAD, NOBODY) == ()
    assert ports(documents, HEAD, OPERATOR) == numbers(8265)
    assert ports(documents, HEAD, PodParty("team-a", WORKER)) == (range(1, 65536),)
    assert [document["spec"]["policyTypes"] for document in documents] == [["Ingress"]] * 2


def test_the_help_names_every_option() -> None:
    ended = run("--help")
    assert ended.exit_code == 0
    for option in ("--allow-from", "--monitoring", "--egress", "--adopt", "--operator-namespace"):
        assert option in ended.stdout


# What the six samples of "Add Network Policy ... Support to RayCluster" do: which options say so.
def test_sample_deny_ingress(cluster: str) -> None:
    assert ports(printed(cluster, "--mode", "deny-ingress"), WORKER, NOBODY) == ()


def test_sample_deny_all(cluster: str) -> None:
    pods, head = printed(cluster, "--mode", "deny-all")
    assert pods["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert head["spec"]["policyTypes"] == ["Ingress"]
    dns = PodParty("kube-system", {"k8s-app": "kube-dns"})
    policies = Policies([NetworkPolicy(pods), NetworkPolicy(head)])
    worker = PodParty("team-a", WORKER)
    assert policies.reach(worker, Direction.EGRESS, dns, "UDP").certainly == numbers(53, 5353)
    assert not common(policies.reach(worker, Direction.EGRESS, NOBODY).possibly, numbers(443))


def test_sample_monitoring(cluster: str) -> None:
    documents = printed(cluster, "--monitoring", "monitoring/app.kubernetes.io/name=prometheus")
    assert ports(documents, HEAD, PROMETHEUS) == numbers(8080, 44217, 44227)
    assert ports(documents, WORKER, PROMETHEUS) == numbers(8080)
    assert ports(documents, WORKER, PodParty("monitoring", {})) == ()


def test_sample_custom_rules(cluster: str) -> None:
    documents = printed(cluster, "--allow-from", "notebooks/app=jupyter:10001,8265")
    assert ports(documents, HEAD, NOTEBOOK) == numbers(8265, 10001)
    assert ports(documents, HEAD, PodParty("notebooks", {"app": "x"})) == ()


def test_sample_custom_ports(tmp_path: Path) -> None:
    moved = {"dashboard-port": "9265", "ray-client-server-port": "12001"}
    document = changed(ray_cluster(), {"/spec/headGroupSpec/rayStartParams": moved})
    documents = printed(write(tmp_path, "a.yaml", document), "--mode", "members")
    assert ports(documents, HEAD, OPERATOR) == numbers(8000, 8080, 9265, 44217, 44227)
    assert ports(documents, HEAD, NOBODY) == numbers(8000, 8080, 44217, 44227)


def test_sample_complex_rules(cluster: str) -> None:
    who = ("data/role=etl:10001", "*/ray-client=yes:10001", "./app=gateway:8000", "10.0.0.0/8:8000")
    options = [word for each in who for word in ("--allow-from", each)]
    documents = printed(cluster, *options, "--monitoring", "monitoring")
    assert ports(documents, HEAD, PodParty("data", {"role": "etl"})) == numbers(10001)
    assert ports(documents, HEAD, PodParty("any", {"ray-client": "yes"})) == numbers(10001)
    assert ports(documents, HEAD, PodParty("team-a", {"app": "gateway"})) == numbers(8000)
    assert ports(documents, HEAD, PodParty("team-b", {"app": "gateway"})) == ()
    blocks = [peer for rule in documents[0]["spec"]["ingress"] for peer in rule["from"]]
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in blocks


def test_each_rule_has_a_comment_with_its_reason_and_the_head_says_what_made_it(
    cluster: str,
) -> None:
    lines = run(cluster, "--allow-from", "a").stdout.splitlines()
    assert lines[1].startswith("# RayCluster team-a/demo, mode deny-ingress, printed by RayWarden")
    header = " ".join(line.removeprefix("# ") for line in lines[1:6])
    assert f" raywarden network-policy {cluster} --allow-from a Note: " in header
    for number, line in enumerate(lines):
        if line.startswith(("  - from:", "  - to:", "  - ports:")):
            assert lines[number - 1].startswith("  # ")


def test_nothing_in_a_manifest_or_an_option_ends_a_comment(tmp_path: Path) -> None:
    evil = "x\n---\nkind: ClusterRoleBinding\n# "
    document = changed(ray_job(), {"/metadata/name": evil, "/metadata/namespace": evil})
    ended = run(write(tmp_path, "a.yaml", document), "--operator-namespace", evil)
    assert ended.exit_code == 0
    for each in yaml.safe_load_all(ended.stdout):
        assert each["kind"] == "NetworkPolicy"
        assert each["metadata"]["namespace"] == evil


def test_the_server_and_kuberay_use_other_names_and_labels(cluster: str) -> None:
    for document in printed(cluster):
        assert document["metadata"].keys() == {"name", "namespace"}
        assert document["metadata"]["name"] in ("ray-pods-demo", "ray-head-demo")


def test_a_policy_file_is_the_default_and_options_add_to_it(tmp_path: Path, cluster: str) -> None:
    isolation = {
        "mode": "deny-all",
        "egress": ["internet"],
        "namespaces": [{"namespaces": ["team-*"], "allowFrom": ["notebooks"]}],
    }
    policy = write(tmp_path, "policy.yaml", policy_file(isolation))
    documents = printed(cluster, "--policy", policy, "--allow-from", "a:1")
    assert documents[0]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert common(ports(documents, HEAD, NOTEBOOK), numbers(8265))
    assert ports(documents, HEAD, PodParty("a", {})) == numbers(1)
    documents = printed(cluster, "--policy", policy, "--mode", "members")
    assert documents[0]["spec"]["policyTypes"] == ["Ingress"]
    off = write(tmp_path, "off.yaml", policy_file({"mode": "off"}))
    with pytest.raises(SetupError, match="is off: choose one with --mode"):
        raise run(cluster, "--policy", off).exception or AssertionError


def policy_file(isolation: Object) -> Object:
    return {"apiVersion": "raywarden.io/v1alpha1", "kind": "Policy", "networkIsolation": isolation}


def test_the_annotations_of_a_cluster_count(tmp_path: Path) -> None:
    annotations = {
        "raywarden.io/network-isolation": "deny-all",
        "raywarden.io/allow-from": "notebooks:1 b/",
    }
    document = changed(ray_cluster(), {"/metadata/annotations": annotations})
    source = write(tmp_path, "a.yaml", document)
    documents = printed(source)
    assert documents[0]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert ports(documents, HEAD, NOTEBOOK) == numbers(1)
    assert "RayWarden writes policies for this RayCluster" in run(source).stderr


def test_lists_and_streams_are_read_and_other_objects_are_skipped(tmp_path: Path) -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [ray_cluster(), config_map]}
    ended = run("-", stdin=yaml.safe_dump_all([config_map, listed]))
    assert ended.exit_code == 0
    assert len(list(yaml.safe_load_all(ended.stdout))) == 2
    assert "note: skipped ConfigMap a: it has nothing to do with Ray" in ended.stderr


def test_the_exit_code_says_that_nothing_was_printed(tmp_path: Path) -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    ended = run(write(tmp_path, "a.yaml", config_map))
    assert (ended.exit_code, ended.stdout) == (1, "")


def test_what_cannot_be_read_is_a_line_and_exit_code_2(tmp_path: Path, cluster: str) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    for source in (str(broken), str(tmp_path / "missing.yaml")):
        ended = run(source, cluster)
        assert ended.exit_code == 2
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("raywarden: ")]
        assert line.startswith(f"raywarden: {source}")
        assert "kind: NetworkPolicy" in ended.stdout, "the others are still printed"


WRONG: dict[str, list[str]] = {
    "--allow-from: 'a/b' is not a label": ["FILE", "--allow-from", "x/a/b"],
    "--allow-from: internet is for egress only": ["FILE", "--allow-from", "internet"],
    "--egress: dns has ports of its own": ["FILE", "--egress", "dns:53"],
    "name a file of manifests": [],
    "--dry-run and --yes need --adopt": ["FILE", "--yes"],
    "--adopt takes only": ["FILE", "--adopt", "a/b"],
    "--adopt a: write NAMESPACE/NAME": ["--adopt", "a"],
}


@pytest.mark.parametrize("problem", WRONG)
def test_wrong_options_are_explained_in_a_line(problem: str, cluster: str) -> None:
    ended = run(*(cluster if word == "FILE" else word for word in WRONG[problem]))
    assert isinstance(ended.exception, SetupError)
    assert str(ended.exception).startswith(problem)
    assert "\n" not in str(ended.exception)


def test_egress_in_a_mode_that_leaves_it_open_is_noted(cluster: str) -> None:
    ended = run(cluster, "--egress", "internet")
    assert "--egress has no effect in the mode deny-ingress" in ended.stderr
