"""The Redis in which Ray keeps its state is protected by TLS and a password."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, str_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Container, PodRole
from policies.ray.redis import OPTIONS, PLAIN, TLS, VARIABLE, is_outside
from policies.ray.workload import ClusterSpec, Workload

_PASSWORD = "redisPassword: {valueFrom: {secretKeyRef: {name: redis, key: password}}}"
_NO_TLS = "connects to Redis without TLS"
_NO_PASSWORD = "connects to Redis without a password"
# A host name has at most 253 characters. No real list of addresses is longer than this.
_LONGEST = 1000


class ProtectedRedis(Rule):
    """Refuses a Redis without TLS, or without a password from a Secret, for the state of Ray.

    With GCS fault tolerance, Ray keeps its state in a Redis: the one in
    `gcsFaultToleranceOptions.redisAddress`, or in the variable RAY_REDIS_ADDRESS. Ray uses TLS only
    if the address starts with `rediss://`. A Redis in the same pod (127.0.0.1) needs neither.
    Why: Ray runs the functions that it finds there. Anyone who can write to this Redis, or into
    the connection, runs code in the cluster, whatever protects Ray's own ports.
    Fix: set an address with `rediss://`, and `redisPassword.valueFrom.secretKeyRef`.
    """

    id: ClassVar[str] = "protected-redis"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.HIGH

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # A pod that KubeRay creates was checked as part of its RayCluster. Its clean-up Job only
        # empties the Redis of a cluster that existed, and to refuse it would block the deletion.
        if workload.is_kuberay_pod or any(pod.role is PodRole.CLEANUP for pod in workload.pods):
            return
        if workload.cluster:
            yield from self._check_options(workload.cluster)
        if VARIABLE not in workload.summary.variables:
            return
        for container in workload.ray_containers:
            for index, entry in container.variables.of(VARIABLE):
                place = container.pointer / "env" / index
                yield from self._check_variable(workload, container, entry, place)

    def _check_options(self, cluster: ClusterSpec) -> Iterator[Violation]:
        options = as_dict(cluster.spec.get(OPTIONS))
        address = as_str(options.get("redisAddress"))
        if options.get("backend") == "rocksdb" or not is_outside(address):
            return
        place = Pointer((*cluster.pointer, OPTIONS))
        yield from self._check_tls("the head", "redisAddress", address, place / "redisAddress")
        password = as_dict(options.get("redisPassword"))
        source = as_dict(password.get("valueFrom"))
        # The rule no-literal-credentials refuses a literal password.
        if not source and not as_str(password.get("value")):
            remediation = f"set {_PASSWORD}, and put the password into that Secret"
            yield self.violation(f"the head {_NO_PASSWORD}", place / "redisPassword", remediation)
        elif source and not as_dict(source.get("secretKeyRef")):
            message = "the head takes the password of Redis from elsewhere than a Secret"
            remediation = f"set {_PASSWORD}, and put the password into that Secret"
            yield self.violation(message, place / "redisPassword", remediation)

    def _check_variable(
        self, workload: Workload, container: Container, entry: Mapping[str, Any], place: Pointer
    ) -> Iterator[Violation]:
        """RAY_REDIS_ADDRESS as the author wrote it; KubeRay writes none of its own then."""
        address = as_str(entry.get("value"))
        if entry.get("valueFrom") is not None:
            address = f"$({VARIABLE})"
        if not is_outside(address):
            return
        yield from self._check_tls(container.title, "value", address, place / "value")
        if not _has_password(workload, container):
            remediation = (
                f"remove {VARIABLE} from env, and add {OPTIONS} with redisAddress and {_PASSWORD}"
            )
            yield self.violation(f"{container.title} {_NO_PASSWORD}", place, remediation)

    def _check_tls(
        self, title: str, field: str, address: str, place: Pointer
    ) -> Iterator[Violation]:
        parts = [part for part in address.split(",") if not part.startswith(TLS)]
        if any("$(" in part for part in parts):
            message = f"{title} takes the address of Redis from a variable, so its TLS is unknown"
            yield self.unknown(message, place, f"start the address with {TLS}")
        elif parts:
            remediation = f"start the address with {TLS}, and enable TLS in Redis"
            if address.isprintable() and len(address) <= _LONGEST and '"' not in address:
                hosts = [part.removeprefix(TLS).removeprefix(PLAIN) for part in address.split(",")]
                fixed = ",".join(f"{TLS}{host}" for host in hosts)
                remediation = f'set {field}: "{fixed}", and enable TLS in Redis'
            yield self.violation(f"{title} {_NO_TLS}", place, remediation)


def _has_password(workload: Workload, container: Container) -> bool:
    """The author gives Ray a password in the command, which other rules judge."""
    if workload.cluster:
        names = workload.cluster.head.start_params
        return any(name.replace("_", "-") == "redis-password" for name in names)
    return any(
        "--redis-password" in word
        for field in ("command", "args")
        for _, word in str_items(container.raw.get(field))
    )
