"""The cache of cluster CAs, and what a cluster's pods are given to trust."""

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
    cache, together = Authorities(SEED), threading.Barrier(16)

    def ask() -> int:
        together.wait()
        return id(cache.of(CLUSTER))

    with ThreadPoolExecutor(16) as pool:
        answers = {future.result() for future in [pool.submit(ask) for _ in range(16)]}
    assert len(answers) == 1
    assert (cache.misses, cache.hits) == (1, 15)


def test_the_least_recently_used_leaves() -> None:
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
        cluster_authority(one, CLUSTER).certificate for one in (GENERATION, NEXT_GENERATION)
    ]
    assert x509.load_pem_x509_certificates(trust.bundle) == expected
    assert trust.authority.certificate == expected[0]
    assert trust.chain == b""


def test_bundles_overlap_through_a_whole_rotation() -> None:
    """At each step the CA that signs is one that all pods started since the step before already trust."""
    seeds = [SEED, SEED.with_generation(NEXT_GENERATION)]
    seeds.append(seeds[-1].retire(GENERATION.name, NEXT_GENERATION.activated))
    seeds.append(seeds[-1].without(GENERATION.name))
    steps = [Authorities(seed).of(CLUSTER) for seed in seeds]
    assert steps[0].authority.pem == steps[1].authority.pem, "a rotation touches no running cluster"
    assert steps[2].authority.pem != steps[1].authority.pem, "a retired generation signs no more"
    for before, after in ((steps[1], steps[2]), (steps[2], steps[3])):
        assert after.authority.pem in before.bundle, "older pods trust newer ones"
        assert before.authority.pem in after.bundle, "newer pods trust older ones"
    assert steps[2].authority.pem == steps[3].authority.pem == steps[3].bundle
