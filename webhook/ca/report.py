"""What `raywarden ca` says: text for people, JSON for programs."""

from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from rich.console import Group
from rich.table import Table

from certs.cache import ClusterTrust
from certs.identity import Cluster
from certs.seed import Generation
from webhook.ca.inventory import ClusterEntry, Inventory


def as_json(inventory: Inventory) -> dict[str, Any]:
    """The inventory as one JSON object; times are UTC, as Kubernetes writes them."""
    return {
        "generations": [
            {
                "name": generation.name,
                "state": "retired" if generation.retired else "signs",
                "clusters": len(inventory.using(generation)),
            }
            for generation in inventory.seed.generations
        ],
        "clusters": [
            {
                "namespace": entry.cluster.namespace,
                "name": entry.cluster.name,
                "generation": entry.generation.name,
                "pods": len(entry.pods),
                "outdated": entry.outdated,
                "unaware": entry.missing_new_ca,
                "caEnds": f"{entry.ca_ends:%FT%TZ}",
                "ends": f"{entry.ends:%FT%TZ}",
            }
            for entry in inventory.clusters
        ],
    }


def as_text(inventory: Inventory) -> Group:
    """The same as two tables, and what there is to do."""
    generations = _table("generation", "state")
    for generation in inventory.seed.generations:
        generations.add_row(generation.name, _state(inventory, generation))
    clusters = _table("cluster", "generation", "pods", "first end")
    for entry in inventory.clusters:
        clusters.add_row(
            entry.title, entry.generation.name, str(len(entry.pods)), f"{entry.ends:%F}"
        )
    empty = "" if inventory.clusters else "no pod has enrolled\n"
    advised = (line for entry in inventory.clusters for line in advice(inventory, entry))
    return Group(generations, "", clusters, empty, *advised)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _state(inventory: Inventory, generation: Generation) -> str:
    if generation.retired:
        return f"retired {generation.retired:%F %T} UTC: signs nothing, still trusted"
    number = len(inventory.using(generation))
    clusters = f"{number} cluster{'' if number == 1 else 's'}"
    if generation.activated > inventory.now:
        return f"for clusters created from {generation.activated:%F %T} UTC on"
    ours = ", and for our own ports" if generation is inventory.seed.serving else ""
    return f"signs for {clusters}{ours}"


def advice(inventory: Inventory, entry: ClusterEntry) -> Iterator[str]:
    """What there is to do about a cluster, and why; nothing where all is well."""
    names = [generation.name for generation in inventory.seed.generations]
    if entry.outdated:
        yield f"{entry.title}: {_pods(entry.outdated, entry)} of a CA that signs no more: restart before forgetting"
    if entry.missing_new_ca:
        yield f"{entry.title}: {_pods(entry.missing_new_ca, entry)} do not know {names[-1]}: restart before revoking"
    if inventory.ends_soon(entry):
        yield f"{entry.title}: a certificate ends on {entry.ends:%F}: restart its pods before"


def _pods(number: int, entry: ClusterEntry) -> str:
    return f"{number} of {len(entry.pods)} pods"


def bundle(cluster: Cluster, trust: ClusterTrust) -> str:
    """A cluster's CAs in PEM form; before each, in a comment, what it is."""
    parts = [f"# {cluster.namespace}/{cluster.name}: what its pods trust, the CA that signs first"]
    for certificate, pem in zip(
        x509.load_pem_x509_certificates(trust.bundle), _pems(trust.bundle), strict=True
    ):
        digest = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        parts.append(
            f"# SHA-256 {digest}\n# ends {certificate.not_valid_after_utc:%F %T} UTC\n{pem}"
        )
    return "\n".join(parts)


def _pems(text: bytes) -> list[str]:
    end = "-----END CERTIFICATE-----\n"
    return [part + end for part in text.decode().split(end) if part]
