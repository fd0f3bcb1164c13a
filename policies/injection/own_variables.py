"""The variables that RayWarden writes, so that a search for others can leave them out."""

from policies.injection.contract import POD_IP, RAY_TLS_VARIABLES
from policies.ray.workload import Workload

# The last two are only in RayWarden's own container.
OWN_VARIABLES = frozenset(
    {POD_IP, *RAY_TLS_VARIABLES, "RAYWARDEN_SIGNER_URL", "RAYWARDEN_SIGNER_CA"}
)


def variables_of_others(workload: Workload) -> str:
    """The names of all other variables, in one text."""
    known: str | None = workload.memo.get("variables_of_others")
    if known is None:
        known = "\n".join(workload.summary.variables - OWN_VARIABLES)
        workload.memo["variables_of_others"] = known
    return known
