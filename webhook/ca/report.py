"""The output of `raywarden ca`: text for people, JSON for programs."""

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

_PEM_END = "-----END CERTIFICATE-----\n"


def as_json(inventory: Inventory) -> dict[str, Any]:
    """The inventory as one JSON object; times are UTC in the format of Kubernetes."""
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
                "missingNewCa": entry.missing_new_ca,
                "caEnds": f"{entry.ca_ends:%FT%TZ}",
                "ends": f"{entry.ends:%FT%TZ}",
            }
            for entry in inventory.clusters
        ],
    }


def as_text(inventory: Inventory) -> Group:
    """The inventory as two tables, followed by advice for each cluster."""
    generations = _table("generation", "state")
    for generation in inventory.seed.generations:
        generations.add_row(generation.name, _state(inventory, generation))
    clusters = _table("cluster", "generation", "pods", "first expiry")
    advice_lines: list[str] = []
    for entry in inventory.clusters:
        pods, ends = str(len(entry.pods)), f"{entry.ends:%F}"
        clusters.add_row(entry.title, entry.generation.name, pods, ends)
        advice_lines += advice(inventory, entry)
    note = "" if inventory.clusters else "no pod has enrolled\n"
    return Group(generations, "", clusters, note, *advice_lines)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _state(inventory: Inventory, generation: Generation) -> str:
    """What a generation is used for."""
    if generation.retired:
        return f"retired {generation.retired:%F %T} UTC: signs nothing, still trusted"
    if generation.activated > inventory.now:
        return f"will sign for clusters created from {generation.activated:%F %T} UTC on"
    number = len(inventory.using(generation))
    state = f"signs for {number} cluster{'' if number == 1 else 's'}"
    if generation is inventory.seed.serving:
        state += " and for RayWarden's own ports"
    return state


def advice(inventory: Inventory, entry: ClusterEntry) -> Iterator[str]:
    """What to do about a cluster's pods, and why; nothing if all is well."""
    newest = inventory.seed.generations[-1].name
    if entry.outdated:
        pods = _pods(entry.outdated, entry)
        yield f"{entry.title}: {pods} still use a retired CA; restart them before `revoke --forget`"
    if entry.missing_new_ca:
        pods = _pods(entry.missing_new_ca, entry)
        yield f"{entry.title}: {pods} do not trust {newest}; restart them before `revoke`"
    if inventory.ends_soon(entry):
        yield (
            f"{entry.title}: a certificate expires on {entry.ends:%F}; "
            "restart the cluster's pods before then"
        )


def _pods(number: int, entry: ClusterEntry) -> str:
    return f"{number} of {len(entry.pods)} pods"


def bundle(cluster: Cluster, trust: ClusterTrust) -> str:
    """A cluster's CAs in PEM form, each after a comment with its fingerprint and expiry."""
    parts = [
        f"# {cluster.namespace}/{cluster.name}: the CAs its pods trust; "
        "the first one signs their certificates"
    ]
    certificates = x509.load_pem_x509_certificates(trust.bundle)
    for certificate, pem in zip(certificates, _split_pem(trust.bundle), strict=True):
        digest = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        expiry = f"{certificate.not_valid_after_utc:%F %T} UTC"
        parts.append(f"# SHA-256 {digest}\n# expires {expiry}\n{pem}")
    return "\n".join(parts)


def _split_pem(bundle: bytes) -> list[str]:
    """Each certificate of a PEM bundle."""
    return [part + _PEM_END for part in bundle.decode().split(_PEM_END) if part]
