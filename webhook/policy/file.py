"""The policy file on disk."""

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

MAX_BYTES = 1024 * 1024
_MAX_SHOWN = 50


def load_policy(file: Path | None) -> Policy:
    """The policy in `file`, the default policy for None; raises SetupError with every problem and its place."""
    return parse_policy(file, read_policy(file))


def read_policy(file: Path | None) -> bytes:
    """What stands in the file, nothing for None; raises SetupError."""
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
    """The policy that `content` of `file` is; with `running`, one that can take its place without a restart.

    Raises SetupError with a line for each problem, `FILE:LINE:COLUMN: place: what is wrong`, as they stand in the file.
    """
    document = Positioned(None, Position(1, 1), {})
    try:
        document = _document(content)
        if running and document.value is None:
            raise PolicyError(
                Problem((), "there is nothing in it; for the default policy write kind: Policy")
            )
        policy = Policy.parse(document.value)
        if running and policy.inject.cluster_domain != running.inject.cluster_domain:
            message = f"certificates hold names in {running.inject.cluster_domain} until the server is started anew"
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
        raise UntrustedYamlError("a second document begins; a policy file holds one", second.start)
    return first


def _lines(file: Path | None, document: Positioned, error: PolicyError) -> list[str]:
    placed = [
        (document.place(problem.place, key=problem.at_key), problem) for problem in error.problems
    ]
    placed.sort(key=lambda one: one[0])
    lines = [_line(file, place, str(problem)) for place, problem in placed[:_MAX_SHOWN]]
    return lines + (
        [f"{file}: ... and {len(placed) - _MAX_SHOWN} more"] if len(placed) > _MAX_SHOWN else []
    )


def _line(file: Path | None, place: Position | None, message: str) -> str:
    return f"{file}:{place.line}:{place.column}: {message}" if place else f"{file}: {message}"
