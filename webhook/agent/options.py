"""The options of `raywarden enroll`.

Importing `argparse` takes longer than the program's request, so it reads only what people write.
The injected init container has plain options.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from argparse import ArgumentParser

# After that the kubelet restarts the init container, and the pod's status shows the reason. Longer
# than `networkIsolation.holdSeconds`, so that a pod which is let start needs no restart: KubeRay
# would delete a pod that is never restarted.
DEADLINE_SECONDS = 300.0
# Who can read the key: its owner, its group, or every user who sees the volume.
_KEY_MODES = ("0400", "0440", "0444")


class Options(NamedTuple):
    """Where to enroll, with what, and where the result goes; `deadline` is in seconds."""

    signer_url: str
    signer_ca: str
    pod_ip: str
    token_file: str = "/var/run/secrets/raywarden.io/token"
    directory: str = "/etc/ray/tls"
    key_mode: str = _KEY_MODES[0]
    deadline: float = DEADLINE_SECONDS
    termination_log: str = "/dev/termination-log"


_NAMES = {f"--{field.replace('_', '-')}": field for field in Options._fields}


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """The options that `arguments` state; ends the process with the usage if they are wrong."""
    defaults = Options(
        environment.get("RAYWARDEN_SIGNER_URL", ""),
        environment.get("RAYWARDEN_SIGNER_CA", ""),
        environment.get("RAYWARDEN_POD_IP", ""),
    )
    stated = _plain(arguments)
    if stated is None:
        return Options(**vars(_parser(defaults).parse_args(arguments)))
    return defaults._replace(**stated)


def _plain(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The options of a command line that has only valid pairs of `--name text`, by field."""
    stated: dict[str, Any] = {}
    if len(arguments) % 2:
        return None
    for name, text in zip(arguments[::2], arguments[1::2], strict=True):
        field = _NAMES.get(name, "deadline")
        if field == "deadline" or text.startswith("-"):
            return None
        stated[field] = text
    return stated if stated.get("key_mode", _KEY_MODES[0]) in _KEY_MODES else None


def _parser(defaults: Options) -> "ArgumentParser":
    from argparse import ArgumentParser, HelpFormatter

    # A width of its own: to find that of the terminal, argparse imports compression libraries.
    parser = ArgumentParser(
        prog="raywarden enroll",
        formatter_class=lambda prog: HelpFormatter(prog, width=100),
        description="Create a private key in this pod, obtain a certificate for it, and write both "
        "for Ray. The init container that RayWarden injects runs this command.",
    )
    parser.set_defaults(**defaults._asdict())
    add = parser.add_argument
    add(
        "--signer-url",
        help="enrollment URL of RayWarden, https (default: RAYWARDEN_SIGNER_URL)",
    )
    add(
        "--signer-ca",
        help="the only CA to trust at that URL, PEM (default: RAYWARDEN_SIGNER_CA)",
    )
    add(
        "--pod-ip",
        help="IP address the certificate must contain (default: RAYWARDEN_POD_IP)",
    )
    add("--token-file", help="projected service account token (default: %(default)s)")
    add("--directory", help="folder for tls.key, tls.crt and ca.crt (default: %(default)s)")
    add("--key-mode", choices=_KEY_MODES, help="file mode of tls.key (default: %(default)s)")
    add(
        "--deadline",
        type=_seconds,
        help="give up after this many seconds (default: %(default)g)",
    )
    add(
        "--termination-log",
        help="write the reason for a failure to this file, if it exists (default: %(default)s)",
    )
    return parser


def _seconds(text: str) -> float:
    from argparse import ArgumentTypeError

    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds >= 1:
        raise ArgumentTypeError(f"{text} is not a number of seconds from 1 up")
    return seconds
