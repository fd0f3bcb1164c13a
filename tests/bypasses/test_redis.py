"""Row 73: a Redis for the state of Ray, without TLS or without a password."""

import pytest

from tests.bypasses.admission import HEAD, RESTRICTED, by_both, refused, verdict
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

REDIS = {"protected-redis"}
PASSWORD: Object = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
OPTIONS = "/spec/gcsFaultToleranceOptions"
VARIABLE = f"{HEAD}/spec/containers/0/env"
# Without it, KubeRay refuses a cluster that names its Redis in a variable.
FAULT_TOLERANT = {"/metadata/annotations": {"ray.io/ft-enabled": "true"}}


@pytest.mark.parametrize(
    "options",
    [
        {"redisAddress": "redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "redis://redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "REDISS://redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "rediss://a:1,redis://b:1", "redisPassword": PASSWORD},
        {"redisAddress": "127.0.0.1:6379,redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "localhost.evil.example:6379", "redisPassword": PASSWORD},
        {"redisAddress": " rediss://redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "rediss://redis:6379"},
        {"redisAddress": "rediss://redis:6379", "redisPassword": {}},
        {"redisAddress": "rediss://redis:6379", "redisPassword": {"value": ""}},
        {
            "redisAddress": "rediss://redis:6379",
            "redisPassword": {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        },
        {
            "redisAddress": "rediss://redis:6379",
            "redisPassword": {"valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        },
    ],
)
def test_73_redis_without_tls_or_password(options: Object) -> None:
    warned, denied = by_both(changed(ray_cluster(), {OPTIONS: options}))
    assert warned == denied == REDIS


@pytest.mark.parametrize("address", ["redis:6379", "redis://redis:6379", "rediss://redis:6379"])
def test_73_redis_by_a_variable(address: str) -> None:
    env = [{"name": "RAY_REDIS_ADDRESS", "value": address}]
    assert by_both(changed(ray_cluster(), {VARIABLE: env, **FAULT_TOLERANT})) == (REDIS, REDIS)
    pod = changed(factory.opted_in_pod("head"), {"/spec/containers/0/env/-": env[0]})
    assert refused(pod, policy=RESTRICTED) >= REDIS


@pytest.mark.parametrize(
    "change",
    [
        {OPTIONS: {"redisAddress": "rediss://redis:6379", "redisPassword": PASSWORD}},
        {OPTIONS: {"redisAddress": "rediss://a:1,rediss://b:1", "redisPassword": PASSWORD}},
        {OPTIONS: {"redisAddress": "127.0.0.1:6380"}},
        {OPTIONS: {"redisAddress": "redis://localhost:6380"}},
        {OPTIONS: {"backend": "rocksdb"}},
        {VARIABLE: [{"name": "RAY_REDIS_ADDRESS", "value": "[::1]:6379"}], **FAULT_TOLERANT},
    ],
)
def test_73_a_protected_redis_stays_allowed(change: Object) -> None:
    assert verdict(changed(ray_cluster(), change), policy=RESTRICTED) == (set(), set())


def test_73_an_address_that_cannot_be_read_remains() -> None:
    """It may come from a Secret, so it warns only."""
    source = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "address"}}}
    document = changed(
        ray_cluster(), {OPTIONS: {"redisAddress": "$(ADDRESS)", "redisPassword": PASSWORD}}
    )
    assert verdict(document, policy=RESTRICTED) == (set(), REDIS)
    variable = [{"name": "RAY_REDIS_ADDRESS", **source}]
    named = changed(ray_cluster(), {VARIABLE: variable, **FAULT_TOLERANT})
    denied, warned = verdict(named, policy=RESTRICTED)
    assert (denied, warned) == (REDIS, REDIS), "it has no password"
