"""What KubeRay itself refuses: by version and feature gates. The fixtures have the rest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.kuberay.schedule import is_schedule
from policies.ray.operator import KubeRayOperator
from tests.policies.kuberay.judging import by_kuberay
from tests.support import factory
from tests.support.factory import changed

HEAD = "/spec/headGroupSpec"
RAY = f"{HEAD}/template/spec/containers/0"
WORKERS = "/spec/workerGroupSpecs/0"
NETWORK, TLS = "RayClusterNetworkPolicy=true", "RayClusterMTLS=true"
ROCKSDB, HISTORY = "GCSFaultToleranceEmbeddedStorage=true", "RayClusterHistoryServer=true"
POLICY = {"deletionRules": [{"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED"}}]}
S3 = [{"name": "STORAGE_BACKEND", "value": "s3"}, {"name": "S3_REGION", "value": "a"}]
COLLECTOR = {"collectorOptions": {"image": "collector:1", "env": S3}}
INCREMENTAL = {"type": "NewClusterWithIncrementalUpgrade"}
MTLS = {"/spec/tlsOptions": {"enabled": True}}


def messages(base: str, change: dict[str, Any], version: str = "", gates: str = "") -> list[str]:
    document = changed(factory.MINIMAL[base](), change)
    return [refusal.message for refusal in by_kuberay(document, version, gates)]


@pytest.mark.parametrize("version", ["", "1.5", "1.6", "1.7"])
@pytest.mark.parametrize("base", ["raycluster", "rayjob", "rayservice"])
def test_a_minimal_object_is_accepted(base: str, version: str) -> None:
    assert messages(base, {}, version) == []


@pytest.mark.parametrize(
    ("base", "change", "since"),
    [
        ("raycluster", {f"{WORKERS}/minReplicas": -1}, "1.6"),
        ("raycluster", {f"{WORKERS}/idleTimeoutSeconds": 5}, "1.6"),
        ("raycluster", {f"{WORKERS}/priority": 5}, "1.7"),
        ("raycluster", {"/spec/autoscalerOptions": {"idleTimeoutSeconds": -1}}, "1.6"),
        ("raycluster", {"/spec/autoscalerOptions": {
            "env": [{"name": "KUBERAY_GEN_AUTOSCALER_START_CMD", "value": "a"}]}}, "1.7"),
        ("raycluster", {"/spec/authOptions": {"enableK8sTokenAuth": True}}, "1.6"),
        ("raycluster", {"/spec/authOptions/enableK8sTokenAuth": True, "/spec/rayVersion": "2.54"},
         "1.6"),
        ("raycluster", {"/spec/authOptions": {
            "mode": "token", "enableK8sTokenAuth": True, "secretName": "a"}}, "1.6"),
        ("rayservice", {"/spec/rayClusterConfig/authOptions/enableK8sTokenAuth": True}, "1.6"),
        ("rayservice", {"/spec/rayClusterConfig/upgradeStrategy": {"type": "None"}}, "1.6"),
        ("rayjob", {"/spec/preRunningDeadlineSeconds": 0}, "1.6"),
        ("raycronjob", {"/metadata/name": "a" * 37}, "1.7"),
        ("raycronjob", {"/spec/schedule": "TZ=Europe/Berlin 0 3 * * *"}, "1.7"),
        ("raycronjob", {"/spec/timeZone": ""}, "1.7"),
        ("raycronjob", {"/spec/timeZone": "CEST"}, "1.7"),
    ],
)  # fmt: skip
def test_what_a_later_kuberay_refuses(base: str, change: dict[str, Any], since: str) -> None:
    releases = ["1.5", "1.6", "1.7"]
    # The gate of the RayCronJob has nothing to do with these.
    found = {release: messages(base, change, release, "RayCronJob=true") for release in releases}
    first = releases.index(since)
    assert [release for release, said in found.items() if said] == releases[first:]
    assert messages(base, change), "the newest is the default"


def test_the_name_of_a_cron_job_in_kuberay_1_6() -> None:
    for length, count in ((41, 0), (42, 1)):
        change = {"/metadata/name": "a" * length}
        assert len(messages("raycronjob", change, "1.6", "RayCronJob=true")) == count


def test_kuberay_1_5_takes_the_smaller_number_of_replicas() -> None:
    change = {f"{WORKERS}/minReplicas": 5}
    (old,), (new,) = messages("raycluster", change, "1.5"), messages("raycluster", change, "1.6")
    assert old.startswith("KubeRay ignores minReplicas")
    assert new.startswith("KubeRay refuses minReplicas")


@pytest.mark.parametrize(
    ("base", "change", "gate", "on_since"),
    [
        ("raycluster", {"/spec/networkPolicy": {}}, "RayClusterNetworkPolicy", ""),
        ("raycluster", {"/spec/tlsOptions": {}}, "RayClusterMTLS", ""),
        ("raycluster", {"/spec/historyServerOptions": COLLECTOR}, "RayClusterHistoryServer", ""),
        ("raycluster", {"/spec/gcsFaultToleranceOptions": {"backend": "rocksdb"}},
         "GCSFaultToleranceEmbeddedStorage", ""),
        ("raycluster", {f"{WORKERS}/suspend": True}, "RayJobDeletionPolicy", "1.6"),
        ("rayjob", {"/spec/deletionStrategy": POLICY}, "RayJobDeletionPolicy", "1.6"),
        ("raycronjob", {}, "RayCronJob", ""),
    ],
)  # fmt: skip
def test_a_gate_that_is_off(base: str, change: dict[str, Any], gate: str, on_since: str) -> None:
    (message,) = messages(base, change, "1.7", f"{gate}=false")
    assert message.endswith(f"without its feature gate {gate}")
    assert messages(base, change, "1.7", f"{gate}=true") == []
    assert messages(base, change) == [], "unknown gates are no reason for a warning"
    assert (messages(base, change, "1.7") == []) is bool(on_since)
    if on_since:
        assert messages(base, change, "1.5") == [message]


def test_gates_by_their_stage() -> None:
    def gates(version: str, setting: str = "") -> set[str]:
        known = KubeRayOperator.of_release(version, setting)
        assert known is not None
        return set(known.gates or ())

    beta = {"RayClusterStatusConditions", "RayJobDeletionPolicy", "RayMultiHostIndexing"}
    assert gates("1.5") == {"RayClusterStatusConditions"}
    assert gates("1.6") == beta
    assert gates("1.7") == {*beta, "RayServiceIncrementalUpgrade"}
    assert "RayClusterMTLS" in gates("1.7", "AllAlpha=true")
    assert "RayClusterMTLS" not in gates("1.7", "AllAlpha=true,RayClusterMTLS=false")
    assert gates("1.6", "AllBeta=false") == set()


@pytest.mark.parametrize(
    ("change", "gates", "part"),
    [
        ({"/spec/networkPolicy": {"mode": "DenyAllEgress", "head": {"ingressRules": [{}]}}},
         NETWORK, "networkPolicy.head.ingressRules in the mode DenyAllEgress"),
        ({"/spec/networkPolicy": {"workerGroups": [{"groupName": "large"}]}}, NETWORK,
         "no worker group is called large"),
        ({"/spec/networkPolicy": {}, f"{WORKERS}/groupName": "GPU"}, NETWORK,
         "it must be a DNS label"),
        ({**MTLS, f"{RAY}/env": [{"name": "RAY_USE_TLS", "value": "1"}]}, TLS,
         "RAY_USE_TLS in the head beside tlsOptions"),
        ({**MTLS, f"{RAY}/volumeMounts": [{"name": "a", "mountPath": "/etc/ray/tls"}]}, TLS,
         "refuses another mount in the head"),
        ({"/spec/gcsFaultToleranceOptions": {"backend": "rocksdb", "redisAddress": "a"}}, ROCKSDB,
         "redisAddress with backend: rocksdb"),
        ({"/spec/gcsFaultToleranceOptions": {
            "backend": "rocksdb", "storage": {"claimName": "a", "size": "1Gi"}}}, ROCKSDB,
         "storage.size beside claimName"),
        ({"/spec/gcsFaultToleranceOptions": {"storage": {}}}, "", "storage without backend"),
        ({"/spec/gcsFaultToleranceOptions": {}, "/metadata/annotations": {
            "ray.io/ft-enabled": "true"}}, "", "the annotation ray.io/ft-enabled beside"),
        ({"/spec/historyServerOptions": {}}, HISTORY, "without collectorOptions"),
        ({"/spec/historyServerOptions": {"collectorOptions": {"env": S3}}}, HISTORY,
         "without image"),
        ({"/spec/historyServerOptions": {"collectorOptions": {"image": "a", "env": S3[:1]}}},
         HISTORY, "without S3_REGION"),
        ({"/spec/historyServerOptions": {"collectorOptions": {
            "image": "a", "env": [*S3, {"name": "POD_IP", "value": "a"}]}}}, HISTORY,
         "KubeRay writes POD_IP itself"),
    ],
)  # fmt: skip
def test_options_that_contradict(change: dict[str, Any], gates: str, part: str) -> None:
    (message,) = messages("raycluster", change, "1.7", gates)
    assert part in message


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"/spec/deletionStrategy": {}}, "deletionStrategy without deletionRules"),
        ({"/spec/deletionStrategy": {"onSuccess": {"policy": "DeleteSelf"}}},
         "deletionStrategy without deletionRules"),
        ({"/spec/deletionStrategy": POLICY, "/spec/shutdownAfterJobFinishes": True},
         "deletionRules beside shutdownAfterJobFinishes"),
        ({"/spec/deletionStrategy": {**POLICY, "onSuccess": {"policy": "DeleteSelf"}}},
         "deletionRules beside onSuccess"),
        ({"/spec/deletionStrategy": {"deletionRules": [{"policy": "DeleteSelf", "condition": {}}]}},
         "without exactly one of jobStatus"),
        ({"/spec/rayClusterSpec": None}, "without rayClusterSpec or clusterSelector"),
        ({"/spec/clusterSelector": {"ray.io/cluster": "shared"}}, "KubeRay ignores rayClusterSpec"),
        ({"/spec/clusterSelector": {"a": "b"}, "/spec/rayClusterSpec": None},
         "clusterSelector without ray.io/cluster"),
    ],
)  # fmt: skip
def test_jobs_that_contradict_themselves(change: dict[str, Any], part: str) -> None:
    (message,) = messages("rayjob", change)
    assert part in message


def test_an_incremental_upgrade() -> None:
    change = {
        "/spec/rayClusterConfig/enableInTreeAutoscaling": True,
        "/spec/upgradeStrategy": INCREMENTAL,
    }
    assert "without clusterUpgradeOptions" in messages("rayservice", change)[0]
    (ignored,) = messages("rayservice", change, "1.6")
    assert ignored.startswith("KubeRay ignores NewClusterWithIncrementalUpgrade")
    options = {"gatewayClassName": "a", "intervalSeconds": 0, "stepSizePercent": 101}
    change["/spec/upgradeStrategy"] = {**INCREMENTAL, "clusterUpgradeOptions": options}
    found = messages("rayservice", change)
    assert [message.removeprefix("KubeRay refuses ") for message in found] == [
        "stepSizePercent outside 0 to 100",
        "stepSizePercent above maxSurgePercent",
        "intervalSeconds below 1",
    ]


@pytest.mark.parametrize(
    "text",
    ["0 3 * * *", "*/15 0-6/2 1,15 jan-jun MON", "@daily", "@every 1h30m", "? ? * * 0",
     "CRON_TZ=UTC 0 3 * * *", "5/10 * * * *"],
)  # fmt: skip
def test_schedules(text: str) -> None:
    assert is_schedule(text)


@pytest.mark.parametrize(
    "text",
    ["", "0 3 * *", "0 3 * * * *", "60 * * * *", "* * 0 * *", "* * * * 7", "5-1 * * * *",
     "TZ=UTC+2 0 3 * * *",
     "*/0 * * * *", "@midday", "@every soon", "a * * * *", "1-2-3 * * * *", "1/2/3 * * * *"],
)  # fmt: skip
def test_texts_that_are_no_schedule(text: str) -> None:
    assert not is_schedule(text)


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_names = st.sampled_from(
    [
        "spec", "rayClusterSpec", "jobTemplate", "headGroupSpec", "workerGroupSpecs", "metadata",
        "autoscalerOptions", "gcsFaultToleranceOptions", "authOptions", "networkPolicy", "labels",
        "tlsOptions", "historyServerOptions", "deletionStrategy", "deletionRules", "condition",
        "upgradeStrategy", "clusterUpgradeOptions", "type", "clusterSelector", "replicas", "name",
        "minReplicas", "maxReplicas", "template", "containers", "env", "groupName", "policy",
    ]
)  # fmt: skip
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=30,
)


@given(
    st.sampled_from(["RayCluster", "RayJob", "RayService", "RayCronJob"]),
    _json, _json, st.sampled_from(["", "1.5", "1.6", "1.7"]),
)  # fmt: skip
def test_any_json_is_read(kind: str, spec: Any, metadata: Any, version: str) -> None:
    document = {"apiVersion": "ray.io/v1", "kind": kind, "metadata": metadata, "spec": spec}
    for refusal in by_kuberay(document, version, f"AllAlpha=true,{HISTORY}"):
        assert refusal.message
        assert refusal.remediation
