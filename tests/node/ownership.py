"""What belongs to a run: refuses to touch anything else, and takes away everything that does."""

from collections.abc import Iterator, Sequence

from tests.node.kubectl import CommandError, Kubectl
from tests.node.progress import Progress
from tests.node.result import StepError
from tests.support.factory import Object

LABEL = "raywarden-node-run"
MINE = {LABEL: "true"}
SELECTOR = f"{LABEL}=true"
# Every namespace of a run has this prefix, except that of RayWarden.
PREFIX = "ray-e2e-"
CLEAN = "make e2e-node CLEAN=1"
# In this order: KubeRay must still be able to finish its objects, and without a webhook nothing
# waits for a server that is gone.
RAY_KINDS = ("rayjobs.ray.io", "rayservices.ray.io", "rayclusters.ray.io")
WEBHOOKS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
CLUSTER_KINDS = (
    *WEBHOOKS,
    "validatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "clusterrolebindings",
    "clusterroles",
    "priorityclasses",
)
_DELETE_SECONDS = 120.0


class RefusedError(Exception):
    """The run would touch what is not its own; the text says what, and what to do."""


def is_mine(found: Object) -> bool:
    """Whether a run made the object."""
    return bool(found) and found["metadata"].get("labels", {}).get(LABEL) == "true"


def installed_by_others(kubectl: Kubectl) -> bool:
    """Whether RayWarden is installed here; refuses the leftovers of an earlier run."""
    found = [kubectl.get(kind, "raywarden") for kind in WEBHOOKS]
    found.append(kubectl.get("namespace", "raywarden-system"))
    present = [entry for entry in found if entry]
    if any(is_mine(entry) for entry in present):
        raise RefusedError(f"an earlier run left RayWarden installed here. Remove it: {CLEAN}")
    return bool(present)


def refuse_to_touch_others(
    kubectl: Kubectl, namespaces: Sequence[str], *, use_installed: bool, beside_others: bool
) -> None:
    """Raise `RefusedError` if the run would touch what it did not make."""
    installed = installed_by_others(kubectl)
    if installed and not use_installed:
        raise RefusedError(
            "RayWarden is installed here already. To try that installation as it is, without "
            "installing or removing it: --use-installed"
        )
    if use_installed and not installed:
        raise RefusedError("RayWarden is not installed here: leave --use-installed out")
    for namespace in namespaces:
        found = kubectl.get("namespace", namespace)
        if is_mine(found):
            raise RefusedError(f"an earlier run left the namespace {namespace}. Remove it: {CLEAN}")
        if found:
            raise RefusedError(
                f"the namespace {namespace} exists, and no run made it: rename or delete it"
            )
    others = list(_ray_objects(kubectl))
    if others and not (installed or beside_others):
        raise RefusedError(
            f"this cluster runs Ray already ({', '.join(others[:3])}), and RayWarden would judge "
            "its new pods and changes during the run. Use another cluster, or accept that: "
            "--beside-others"
        )


def _ray_objects(kubectl: Kubectl) -> Iterator[str]:
    for found in kubectl.list("rayclusters.ray.io"):
        yield f"{found['metadata']['namespace']}/{found['metadata']['name']}"


def clean_up(kubectl: Kubectl, progress: Progress) -> list[str]:
    """Delete everything that a run made; returns what could not be deleted, and why."""
    progress.begin("clean up")
    left: list[str] = []
    namespaces = _names(kubectl, "namespaces", left)
    for namespace in namespaces:
        for kind in RAY_KINDS:
            _delete(kubectl, left, kind, "--all", f"--namespace={namespace}")
    for kind in CLUSTER_KINDS:
        _delete(kubectl, left, kind, f"--selector={SELECTOR}")
    if namespaces:
        progress.note(f"deleting the namespaces {', '.join(namespaces)}")
        _delete(kubectl, left, "namespaces", f"--selector={SELECTOR}", "--wait=false")
        _wait_until_gone(kubectl, progress, left)
    return left


def _names(kubectl: Kubectl, kind: str, left: list[str]) -> list[str]:
    try:
        return [found["metadata"]["name"] for found in kubectl.list(kind, labels=SELECTOR)]
    except CommandError as failure:
        left.append(str(failure))
        return []


def _delete(kubectl: Kubectl, left: list[str], kind: str, *chosen: str) -> None:
    ended = kubectl.attempt(
        "delete", kind, *chosen, "--ignore-not-found", f"--timeout={_DELETE_SECONDS:.0f}s",
        seconds=_DELETE_SECONDS + 10,
    )  # fmt: skip
    if ended.code:
        left.append(f"{kind} {chosen[-1]}: {(ended.errors or ended.output).strip()}")


def _wait_until_gone(kubectl: Kubectl, progress: Progress, left: list[str]) -> None:
    def missing() -> str:
        names = _names(kubectl, "namespaces", left)
        return f"{', '.join(names)} still there" if names else ""

    try:
        progress.wait("the namespaces", _DELETE_SECONDS, missing, "")
    except StepError as failure:
        left.append(failure.seen)
