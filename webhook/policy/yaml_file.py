"""A file with one YAML document that people write by hand: read it, and report where it is wrong.

A report has a line for each problem: `FILE:LINE:COLUMN: field: problem`.
"""

from pathlib import Path

from policies.documents.untrusted_yaml import (
    Position,
    Positioned,
    UntrustedYamlError,
    load_positioned,
    position_at,
)
from policies.problems import PolicyError
from webhook.settings import SetupError

# A file that is wrong throughout would flood the terminal and the log.
_MAX_SHOWN = 50
EMPTY = Positioned(None, Position(1, 1), {})


def read_bounded(file: Path, max_bytes: int) -> bytes:
    """The content of a regular file; raises SetupError, also if it is larger than `max_bytes`."""
    try:
        if file.exists() and not file.is_file():
            raise SetupError(f"{file}: not a file")
        with file.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None
    if len(content) > max_bytes:
        raise SetupError(f"{file}: larger than {max_bytes // 1024} KiB")
    return content


def only_document(content: bytes, file_kind: str) -> Positioned:
    """The document in `content`; raises UntrustedYamlError.

    `file_kind` is what the message calls the file, such as `policy file`.
    """
    try:
        documents = load_positioned(content.decode())
    except UnicodeDecodeError as error:
        raise UntrustedYamlError("not UTF-8 text", position_at(content, error.start)) from None
    first = next(documents, EMPTY)
    if second := next(documents, None):
        message = f"a second document starts here; a {file_kind} contains only one"
        raise UntrustedYamlError(message, second.start)
    return first


def problem_lines(file: Path | None, document: Positioned, error: PolicyError) -> list[str]:
    """A line for each problem, in the order of the file."""
    positioned = [
        (document.place(problem.place, key=problem.at_key), problem) for problem in error.problems
    ]
    positioned.sort(key=lambda entry: entry[0])
    lines = [
        problem_line(file, position, str(problem)) for position, problem in positioned[:_MAX_SHOWN]
    ]
    hidden = len(positioned) - _MAX_SHOWN
    if hidden > 0:
        lines.append(f"{file}: ... and {hidden} more")
    return lines


def problem_line(file: Path | None, position: Position | None, message: str) -> str:
    """One problem, with its position if that is known."""
    if position is None:
        return f"{file}: {message}"
    return f"{file}:{position.line}:{position.column}: {message}"
