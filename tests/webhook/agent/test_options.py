"""The options of the init container's program read the same with and without `argparse`."""

import subprocess
import sys

import pytest

from webhook.agent.options import DEADLINE_SECONDS, Options, parse

VARIABLES = {
    "RAYWARDEN_SIGNER_URL": "https://signer",
    "RAYWARDEN_SIGNER_CA": "ca",
    "RAYWARDEN_POD_IP": "10.0.0.1",
}


@pytest.mark.parametrize(
    ("plain", "joined"),
    [
        ((), ("--deadline", str(DEADLINE_SECONDS))),
        (("--key-mode", "0440"), ("--key-mode=0440",)),
        (("--signer-url", "https://a", "--pod-ip", ""), ("--signer-url=https://a", "--pod-ip=")),
        (("--directory", "/a b", "--directory", "/c"), ("--directory=/a b", "--directory=/c")),
        (("--token-file", "/t", "--termination-log", "/l"), ("--tok=/t", "--term=/l")),
        (("--signer-ca", "line\nline"), ("--signer-ca=line\nline",)),
    ],
)
def test_plain_options_are_read_as_others_are(
    plain: tuple[str, ...], joined: tuple[str, ...]
) -> None:
    assert parse(plain, VARIABLES) == parse(joined, VARIABLES)


def test_variables_are_the_defaults() -> None:
    assert parse((), VARIABLES) == Options("https://signer", "ca", "10.0.0.1")
    assert parse((), {}) == Options("", "", "")


@pytest.mark.parametrize(
    "arguments",
    [("--key-mode", "0777"), ("--directory",), ("--directory", "--pod-ip"), ("0400",), ("-x", "y")],
)
def test_a_wrong_command_line_ends_the_program(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments, VARIABLES)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: raywarden enroll ")


def test_the_injected_container_needs_no_parser() -> None:
    program = (
        "import sys; from webhook.agent.command import run; from webhook.agent.key import PodKey; "
        "run(['--key-mode', '0400']); PodKey().csr(); print(*sys.modules)"
    )
    command = [sys.executable, "-I", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env={})
    # The last two are imported for names that are not ASCII, and for every kind of key.
    heavy = {"argparse", "encodings.idna", "cryptography.hazmat.primitives.asymmetric.rsa"}
    assert not heavy & set(ended.stdout.split())
