"""Checks of the seed and of every certificate that is derived from it."""

from collections.abc import Iterator
from datetime import timedelta

from certs.authority import serving_authority
from certs.profile import EXPIRY_WARNING, CertificateProfile
from certs.seed import Seed, SeedError
from webhook.ca.inventory import ClusterEntry, Inventory, take_inventory
from webhook.ca.report import advice
from webhook.check.deployment import DEPLOYMENT, ServerDeployment
from webhook.check.facts import CheckFacts, Unavailable, or_empty
from webhook.check.findings import Finding, enumerated, failed, ok, or_ok, unknown, warning
from webhook.ports import StoredSeed


def certificates(facts: CheckFacts) -> Iterator[Finding]:
    """The seed is valid, and no certificate expires soon."""
    deployment = facts.deployment if isinstance(facts.deployment, ServerDeployment) else None
    secret = f"the Secret {facts.namespace}/raywarden-seed"
    if deployment and deployment.own_certificate:
        message = f"the server uses its own mounted certificate ({deployment.own_certificate})"
        yield ok("own-certificate", message)
    if deployment and deployment.own_seed:
        message = (
            f"the seed is mounted into the server (RAYWARDEN_SEED_DIR={deployment.own_seed}), "
            "so it is not checked here"
        )
        yield ok("seed", message)
    elif isinstance(facts.seed, Unavailable):
        yield unknown("seed", "the seed", facts.seed)
    elif facts.seed is None:
        message = f"{secret} does not exist; the server creates it when it starts"
        remediation = f"run kubectl -n {facts.namespace} logs deployment/{DEPLOYMENT}"
        yield failed("seed", message, remediation)
    else:
        yield from _stored_seed(facts, facts.seed, deployment, secret)


def _stored_seed(
    facts: CheckFacts, stored: StoredSeed, deployment: ServerDeployment | None, secret: str
) -> Iterator[Finding]:
    try:
        seed = Seed.parse(stored.entries)
    except SeedError as error:
        remediation = "restore it from a backup; running replicas keep the seed they have read"
        yield failed("seed", f"{secret} cannot be used: {error}", remediation)
        return
    yield ok("seed", _generations(seed))
    if deployment is None or not deployment.own_certificate:
        yield _serving_ca(facts, seed)
    yield from _clusters(facts, seed, deployment)


def _generations(seed: Seed) -> str:
    names = [generation.name for generation in seed.generations]
    retired = [generation.name for generation in seed.generations if generation.retired]
    noun = "generation" if len(names) == 1 else "generations"
    message = f"the seed has {len(names)} {noun}: {enumerated(names)}"
    if retired:
        message += f"; retired but still trusted: {enumerated(retired)}"
    return message


def _serving_ca(facts: CheckFacts, seed: Seed) -> Finding:
    expiry = serving_authority(seed.serving).certificate.not_valid_after_utc
    if expiry <= facts.now:
        return failed(
            "serving-ca",
            f"the CA of the server's own ports expired on {expiry:%F}",
            "run raywarden ca rotate, and revoke the oldest generation",
        )
    message = f"the CA of the server's own ports expires on {expiry:%F}"
    if expiry < facts.now + EXPIRY_WARNING:
        remediation = (
            "run raywarden ca rotate, restart all Ray clusters, then revoke the oldest generation"
        )
        return warning("serving-ca", message, remediation)
    return ok("serving-ca", message)


def _clusters(
    facts: CheckFacts, seed: Seed, deployment: ServerDeployment | None
) -> Iterator[Finding]:
    clusters, namespaces, pods = facts.ray_objects["rayclusters"], facts.namespaces, facts.ray_pods
    for objects in (clusters, namespaces, pods):
        if isinstance(objects, Unavailable):
            yield unknown("clusters", "the certificates of Ray clusters", objects)
            return
    profile = CertificateProfile()
    if deployment:
        profile = CertificateProfile(timedelta(days=deployment.certificate_days))
    inventory = take_inventory(
        seed, or_empty(clusters), or_empty(namespaces), or_empty(pods), profile, facts.now
    )
    message = (
        f"no certificate expires within {EXPIRY_WARNING.days} days, and every pod has "
        f"an up-to-date CA (clusters: {len(inventory.clusters)})"
    )
    yield from or_ok(_outdated(inventory), "clusters", message)


def _outdated(inventory: Inventory) -> Iterator[Finding]:
    for entry in inventory.clusters:
        yield from _cluster(inventory, entry)


def _cluster(inventory: Inventory, entry: ClusterEntry) -> Iterator[Finding]:
    label = "raywarden.io/cluster" if entry.cluster.opted_in else "ray.io/cluster"
    remediation = (
        f"run kubectl -n {entry.cluster.namespace} delete pods -l {label}={entry.cluster.name}, "
        "which ends its jobs"
    )
    if entry.ends <= inventory.now:
        message = (
            f"{entry.title}: a certificate expired on {entry.ends:%F}; "
            "its processes cannot open new connections"
        )
        yield failed("clusters", message, remediation)
        return
    for line in advice(inventory, entry):
        yield warning("clusters", line, f"{remediation}; raywarden ca list shows all clusters")
