"""The cache of cluster CAs, and the CAs that the pods of a cluster trust."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from cryptography import x509

from certs.authority import cluster_authority
from certs.cache import Authorities
from certs.identity import Cluster
from certs.seed import Seed
from tests.support.live_objects import GENERATION, NEXT_GENERATION, SEED, START

CLUSTER = Cluster("team-a", "demo", "uid", START)


def numbered(number: int) -> Cluster:
    return replace(CLUSTER, name=f"c{number}")


def test_a_cluster_is_derived_once() -> None:
    cache = Authorities(SEED)
    assert cache.of(CLUSTER) is cache.of(replace(CLUSTER, head_services=("renamed",)))
    assert (cache.hits, cache.misses, cache.evictions, len(cache)) == (1, 1, 0, 1)


def test_many_pods_of_a_new_cluster_at_once_cost_one_derivation() -> None:
    cache, all_ready = Authorities(SEED), threading.Barrier(16)

    def look_up() -> int:
        all_ready.wait()
        return id(cache.of(CLUSTER))

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(look_up) for _ in range(16)]
    assert len({future.result() for future in futures}) == 1
    assert (cache.misses, cache.hits) == (1, 15)


def test_the_least_recently_used_ca_is_evicted() -> None:
    cache = Authorities(SEED, capacity=2)
    for number in (1, 2, 1, 3, 1):
        cache.of(numbered(number))
    assert (cache.misses, cache.hits, cache.evictions, len(cache)) == (3, 2, 1, 2)
    cache.of(numbered(2))
    assert cache.misses == 4


def test_a_cluster_trusts_its_own_cas_of_every_generation_and_nothing_above() -> None:
    seed = Seed((GENERATION, NEXT_GENERATION))
    trust = Authorities(seed).of(CLUSTER)
    expected = [
        cluster_authority(generation, CLUSTER).certificate
        for generation in (GENERATION, NEXT_GENERATION)
    ]
    assert x509.load_pem_x509_certificates(trust.bundle) == expected
    assert trust.authority.certificate == expected[0]
    assert trust.chain == b""


def test_bundles_overlap_through_a_whole_rotation() -> None:
    """At each step, pods that started in this step and in the step before trust each other."""
    seeds = [SEED, SEED.with_generation(NEXT_GENERATION)]
    seeds.append(seeds[-1].retire(GENERATION.name, NEXT_GENERATION.activated))
    seeds.append(seeds[-1].without(GENERATION.name))
    steps = [Authorities(seed).of(CLUSTER) for seed in seeds]
    assert steps[0].authority.pem == steps[1].authority.pem, "a rotation changed a running cluster"
    assert steps[2].authority.pem != steps[1].authority.pem, "a retired generation still signs"
    for before, after in ((steps[1], steps[2]), (steps[2], steps[3])):
        assert after.authority.pem in before.bundle, "older pods do not trust newer pods"
        assert before.authority.pem in after.bundle, "newer pods do not trust older pods"
    assert steps[2].authority.pem == steps[3].authority.pem == steps[3].bundle
