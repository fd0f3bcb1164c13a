"""Reads and parses the policy file."""

from pathlib import Path

from policies.config import Policy
from policies.documents.untrusted_yaml import (
    Position,
    Positioned,
    UntrustedYamlError,
    load_positioned,
    position_at,
)
from policies.problems import PolicyError, Problem
from webhook.settings import SetupError

# As much as a ConfigMap can hold.
MAX_BYTES = 1024 * 1024
# A file that is wrong throughout would flood the terminal and the log.
_MAX_SHOWN = 50


def load_policy(file: Path | None) -> Policy:
    """The policy in `file`, or the default policy for None.

    Raises SetupError with every problem and its position.
    """
    return parse_policy(file, read_policy(file))


def read_policy(file: Path | None) -> bytes:
    """The content of the file, b"" for None; raises SetupError."""
    if file is None:
        return b""
    try:
        if file.exists() and not file.is_file():
            raise SetupError(f"{file}: not a file")
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise SetupError(f"{file}: larger than {MAX_BYTES // 1024} KiB")
    return content


def parse_policy(file: Path | None, content: bytes, running: Policy | None = None) -> Policy:
    """The policy in `content`, which was read from `file`.

    With `running`, the policy must be able to replace it without a restart. Raises SetupError with
    a line for each problem in the order of the file: `FILE:LINE:COLUMN: field: problem`.
    """
    document = Positioned(None, Position(1, 1), {})
    try:
        document = _document(content)
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
        raise SetupError(_line(file, error.place, error.message)) from None
    except PolicyError as error:
        raise SetupError("\n".join(_lines(file, document, error))) from None
    return policy


def _document(content: bytes) -> Positioned:
    try:
        documents = load_positioned(content.decode())
    except UnicodeDecodeError as error:
        raise UntrustedYamlError("not UTF-8 text", position_at(content, error.start)) from None
    first = next(documents, Positioned(None, Position(1, 1), {}))
    if second := next(documents, None):
        message = "a second document starts here; a policy file contains only one"
        raise UntrustedYamlError(message, second.start)
    return first


def _lines(file: Path | None, document: Positioned, error: PolicyError) -> list[str]:
    positioned = [
        (document.place(problem.place, key=problem.at_key), problem) for problem in error.problems
    ]
    positioned.sort(key=lambda entry: entry[0])
    lines = [_line(file, position, str(problem)) for position, problem in positioned[:_MAX_SHOWN]]
    hidden = len(positioned) - _MAX_SHOWN
    if hidden > 0:
        lines.append(f"{file}: ... and {hidden} more")
    return lines


def _line(file: Path | None, position: Position | None, message: str) -> str:
    if position is None:
        return f"{file}: {message}"
    return f"{file}:{position.line}:{position.column}: {message}"
