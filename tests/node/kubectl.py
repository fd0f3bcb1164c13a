"""kubectl, with a bound on the time of every call."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.factory import Object

# More than any answer of an API server takes; what waits for something has its own bound.
_SECONDS = 60.0
_LONGEST_REASON = 600


@dataclass(frozen=True)
class Ended:
    """The exit code, the output and the messages of a program."""

    code: int
    output: str
    errors: str


Run = Callable[[Sequence[str], str, float], Ended]


class CommandError(Exception):
    """A command failed; the text is what it said."""


def run_program(command: Sequence[str], given: str, seconds: float) -> Ended:
    """Run a program with `given` on its standard input; a program that takes too long is ended."""
    try:
        ended = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Ended(124, "", f"no answer within {seconds:g} s")
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@dataclass(frozen=True)
class Kubectl:
    """Commands for the cluster that KUBECONFIG names."""

    program: str
    run: Run = run_program

    def attempt(self, *arguments: str, given: str = "", seconds: float = _SECONDS) -> Ended:
        """Run a command that may fail."""
        return self.run([self.program, *arguments], given, seconds)

    def must(self, *arguments: str, given: str = "", seconds: float = _SECONDS) -> str:
        """Run a command that must succeed; returns its output."""
        ended = self.attempt(*arguments, given=given, seconds=seconds)
        if ended.code:
            said = (ended.errors or ended.output).strip()[:_LONGEST_REASON]
            raise CommandError(f"kubectl {' '.join(arguments[:6])}: {said}")
        return ended.output

    def apply(self, *objects: Object) -> None:
        """Create or change objects."""
        self.must("apply", "--filename=-", given=json.dumps(_list(objects)))

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """An object; empty if it does not exist."""
        output = self.must(
            "get", kind, name, "--ignore-not-found", "--output=json", *_in(namespace)
        )
        return dict(json.loads(output)) if output.strip() else {}

    def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """The objects of a kind in a namespace, or in all of them."""
        everywhere = [] if namespace else ["--all-namespaces"]
        chosen = [f"--selector={labels}"] if labels else []
        output = self.must("get", kind, "--output=json", *_in(namespace), *everywhere, *chosen)
        return list(json.loads(output)["items"])

    def execute(
        self, namespace: str, pod: str, *command: str, given: str = "", seconds: float = _SECONDS
    ) -> Ended:
        """Run a program in the first container of a pod, with `given` on its standard input."""
        entry = ["exec", "--stdin", f"--namespace={namespace}", pod, "--quiet", "--", *command]
        return self.attempt(*entry, given=given, seconds=seconds)


def _in(namespace: str) -> Sequence[str]:
    return [f"--namespace={namespace}"] if namespace else []


def _list(objects: Sequence[Object]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}
