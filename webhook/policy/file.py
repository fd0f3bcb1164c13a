"""Reads and parses the policy file."""

from pathlib import Path

from policies.config import Policy
from policies.documents.untrusted_yaml import UntrustedYamlError
from policies.problems import PolicyError, Problem
from webhook.policy.yaml_file import (
    EMPTY,
    only_document,
    problem_line,
    problem_lines,
    read_bounded,
)
from webhook.settings import SetupError

# As much as a ConfigMap can hold.
MAX_BYTES = 1024 * 1024


def load_policy(file: Path | None) -> Policy:
    """The policy in `file`, or the default policy for None.

    Raises SetupError with every problem and its position.
    """
    return parse_policy(file, read_policy(file))


def read_policy(file: Path | None) -> bytes:
    """The content of the file, b"" for None; raises SetupError."""
    return b"" if file is None else read_bounded(file, MAX_BYTES)


def parse_policy(file: Path | None, content: bytes, running: Policy | None = None) -> Policy:
    """The policy in `content`, which was read from `file`.

    With `running`, the policy must be able to replace it without a restart. Raises SetupError with
    a line for each problem in the order of the file: `FILE:LINE:COLUMN: field: problem`.
    """
    document = EMPTY
    try:
        document = only_document(content, "policy file")
        if running and document.value is None:
            # An empty file may be one that is being written: it must not disable the policy.
            message = "the file is empty; for the default policy, write kind: Policy"
            raise PolicyError(Problem((), message))
        policy = Policy.parse(document.value)
        if running and policy.inject.cluster_domain != running.inject.cluster_domain:
            message = (
                f"certificates contain names in {running.inject.cluster_domain}; "
                "restart the server to change the cluster domain"
            )
            raise PolicyError(Problem(("inject", "clusterDomain"), message))
    except UntrustedYamlError as error:
        raise SetupError(problem_line(file, error.place, error.message)) from None
    except PolicyError as error:
        raise SetupError("\n".join(problem_lines(file, document, error))) from None
    return policy
