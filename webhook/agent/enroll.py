"""The init container's program: creates a key in the pod and obtains a certificate for it.

Every pod waits for this program, so it starts in milliseconds: it imports neither the server nor a
Kubernetes client.
"""

import os
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from webhook.agent.key import PodKey
from webhook.agent.own_handshake import verify
from webhook.agent.signer_client import EnrollError, SignerClient, TryAgainError

# Longer than RayWarden waits for the pod's address by default, so that an attempt is not cut short.
_RESPONSE_SECONDS = 20.0
# The pause between two attempts doubles from the first to the last.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.25, 10.0
# The log repeats what the pod waits for once a minute, and shows another reason after five seconds.
_REPEAT_SECONDS, _CHANGE_SECONDS = 60.0, 5.0
# Reaches the last pause; some thousand doublings would overflow a float.
_MAX_DOUBLINGS = 10


class Runtime(NamedTuple):
    """Time and randomness.

    `clock` is monotonic, `clock` and `sleep` are in seconds, and `chance` returns a number in
    [0, 1).
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    chance: Callable[[], float]


class Enrollment(NamedTuple):
    """The init container's configuration.

    `ca` (PEM) is the only CA the signer's certificate may come from; `deadline` is in seconds.
    """

    url: str
    ca: str
    pod_ip: IPv4Address | IPv6Address
    token_file: str
    directory: str
    key_mode: int
    deadline: float


class _Log:
    """Says why there is no certificate yet: at once the first time, and then rarely."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._last, self._said_at = "", 0.0

    def waiting(self, reason: str) -> None:
        """The pod waits, for this reason."""
        silent = self._clock() - self._said_at
        pause = _REPEAT_SECONDS if reason == self._last else _CHANGE_SECONDS
        if not self._last or silent >= pause:
            self._last, self._said_at = reason, self._clock()
            self._say(f"no certificate yet: {reason}")


def enroll(enrollment: Enrollment, runtime: Runtime, say: Callable[[str], None]) -> str:
    """Write `tls.key`, `tls.crt` and `ca.crt` into the directory; returns the certificate's end.

    Nothing is replaced before the certificate has been verified. `say` gets lines for the log while
    the pod waits. Raises EnrollError.
    """
    log = _Log(say, runtime.clock)
    signer = SignerClient(enrollment.url, enrollment.ca, enrollment.token_file)
    if not os.path.isdir(enrollment.directory):
        raise EnrollError(f"{enrollment.directory} is not a folder")
    key = PodKey()
    started, attempt, server_reason = runtime.clock(), 0, ""
    while True:
        left = enrollment.deadline - (runtime.clock() - started)
        try:
            chain, bundle = signer.certificate(key, min(_RESPONSE_SECONDS, max(left, 1.0)))
            return _keep(enrollment, chain, bundle, key)
        except TryAgainError as failure:
            if failure.from_server:
                # Keep it: the last attempt may only have been cut short by the deadline.
                server_reason = str(failure)
            log.waiting(str(failure))
            pause = max(_pause(attempt, runtime.chance()), failure.after)
            if runtime.clock() - started + pause > enrollment.deadline:
                reason = server_reason or failure
                raise EnrollError(
                    f"no certificate within {enrollment.deadline:g} s: {reason}"
                ) from None
            runtime.sleep(pause)
            attempt += 1


def _pause(attempt: int, chance: float) -> float:
    """Seconds until the next attempt: exponential, with jitter.

    The pods of a cluster start together; without jitter they would also come back together.
    """
    doublings = min(attempt, _MAX_DOUBLINGS)
    exponential: float = min(_LAST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**doublings)
    return exponential * (0.5 + chance / 2)


def _keep(enrollment: Enrollment, chain: str, bundle: str, key: PodKey) -> str:
    """Write the three files, verify them, and put them in place; returns the certificate's end.

    Each is replaced atomically: a reader sees the old content or the new content.
    """
    files = {
        "ca.crt": (bundle, 0o444),
        "tls.crt": (chain, 0o444),
        "tls.key": (key.pkcs8(), enrollment.key_mode),
    }
    places = {name: os.path.join(enrollment.directory, name) for name in files}
    drafts = {name: os.path.join(enrollment.directory, f".{name}.new") for name in files}
    place = enrollment.directory
    try:
        for name, (content, mode) in files.items():
            place = places[name]
            _write(drafts[name], content, mode)
        end = verify(drafts["tls.crt"], drafts["tls.key"], bundle, enrollment.pod_ip)
        for name, place in places.items():
            os.replace(drafts[name], place)
    except OSError as error:
        raise EnrollError(f"{place} cannot be written: {error.strerror}") from None
    finally:
        for draft in drafts.values():
            _remove(draft)
    return end


def _write(file: str, content: str, mode: int) -> None:
    _remove(file)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)
        # chmod ignores the umask: Ray must be able to read what the mode allows.
        os.fchmod(descriptor, mode)


def _remove(file: str) -> None:
    if os.path.lexists(file):
        os.unlink(file)
