"""The seed, what is derived from it, and what ends when."""

from collections.abc import Iterator
from datetime import timedelta

from certs.authority import serving_authority
from certs.profile import SOON, CertificateProfile
from certs.seed import Seed, SeedError
from webhook.ca.inventory import ClusterEntry, Inventory, take
from webhook.ca.report import advice
from webhook.check.deployed import DEPLOYMENT, Deployed
from webhook.check.findings import (
    CheckFacts,
    Finding,
    Unavailable,
    failed,
    named,
    ok,
    or_ok,
    unknown,
    warning,
)
from webhook.ports import StoredSeed


def certificates(facts: CheckFacts) -> Iterator[Finding]:
    """The seed can be used, and nothing that follows from it ends soon."""
    deployed = facts.deployed if isinstance(facts.deployed, Deployed) else None
    if deployed and deployed.own_certificate:
        yield ok(
            "own-certificate",
            f"the server's own certificate is mounted ({deployed.own_certificate})",
        )
    if deployed and deployed.own_seed:
        message = f"the seed is mounted into the server (RAYWARDEN_SEED_DIR={deployed.own_seed}), and not looked at here"
        yield ok("seed", message)
    elif isinstance(facts.seed, Unavailable):
        yield unknown("seed", "the seed", facts.seed)
    elif facts.seed is None:
        message = f"there is no Secret {facts.namespace}/raywarden-seed: the server makes it when it starts"
        yield failed("seed", message, f"kubectl -n {facts.namespace} logs deployment/{DEPLOYMENT}")
    else:
        yield from _of_seed(facts, facts.seed, deployed)


def _of_seed(facts: CheckFacts, stored: StoredSeed, deployed: Deployed | None) -> Iterator[Finding]:
    try:
        seed = Seed.parse(stored.entries)
    except SeedError as error:
        message = f"the Secret {facts.namespace}/raywarden-seed cannot be used: {error}"
        yield failed(
            "seed", message, "restore it from a backup; replicas that run keep what they have read"
        )
        return
    retired = [one.name for one in seed.generations if one.retired]
    names = named([one.name for one in seed.generations])
    note = f"; retired, and still trusted: {named(retired)}" if retired else ""
    number = len(seed.generations)
    yield ok("seed", f"the seed has {number} generation{'' if number == 1 else 's'}: {names}{note}")
    if deployed is None or not deployed.own_certificate:
        yield _serving(facts, seed)
    yield from _in_use(facts, seed, deployed)


def _serving(facts: CheckFacts, seed: Seed) -> Finding:
    ends = serving_authority(seed.serving).certificate.not_valid_after_utc
    message = f"the CA of the server's own ports ends on {ends:%F}"
    if ends <= facts.now:
        return failed(
            "serving-ca", message, "raywarden ca rotate, and revoke the oldest generation"
        )
    if ends < facts.now + SOON:
        remediation = "raywarden ca rotate; restart clusters, then revoke the oldest generation"
        return warning("serving-ca", message, remediation)
    return ok("serving-ca", message)


def _in_use(facts: CheckFacts, seed: Seed, deployed: Deployed | None) -> Iterator[Finding]:
    lists = (facts.ray_objects["rayclusters"], facts.namespaces, facts.ray_pods)
    for listed in lists:
        if isinstance(listed, Unavailable):
            yield unknown("clusters", "the certificates of clusters", listed)
            return
    clusters, namespaces, pods = (listed for listed in lists if not isinstance(listed, Unavailable))
    profile = (
        CertificateProfile(timedelta(days=deployed.certificate_days))
        if deployed
        else CertificateProfile()
    )
    inventory = take(seed, clusters, namespaces, pods, profile, facts.now)
    good = f"no certificate ends within {SOON.days} days, and no pod is behind (clusters: {len(inventory.clusters)})"
    findings = (
        finding for entry in inventory.clusters for finding in _of_cluster(inventory, entry)
    )
    yield from or_ok(findings, "clusters", good)


def _of_cluster(inventory: Inventory, entry: ClusterEntry) -> Iterator[Finding]:
    label = "raywarden.io/cluster" if entry.cluster.opted_in else "ray.io/cluster"
    remediation = f"kubectl -n {entry.cluster.namespace} delete pods -l {label}={entry.cluster.name}, which ends its jobs"
    if entry.ends <= inventory.now:
        message = f"{entry.title}: a certificate ended on {entry.ends:%F}; its processes cannot connect anew"
        yield failed("clusters", message, remediation)
        return
    for line in advice(inventory, entry):
        yield warning("clusters", line, f"{remediation}; raywarden ca list shows all")
