"""The init container's program: creates a key in the pod and obtains a certificate for it.

Every pod waits for this program, so it starts in milliseconds: it imports neither the server nor a
Kubernetes client.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from webhook.agent.signer_client import EnrollError, SignerClient, TryAgainError

# Longer than RayWarden waits for the pod's address by default, so that an attempt is not cut short.
_RESPONSE_SECONDS = 20.0
# The pause between two attempts doubles from the first to the last.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.25, 10.0
# The log repeats what the pod waits for once a minute, and shows another reason after five seconds.
_REPEAT_SECONDS, _CHANGE_SECONDS = 60.0, 5.0
# Reaches the last pause; some thousand doublings would overflow a float.
_MAX_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Runtime:
    """Time and randomness.

    `now` is for certificates, `clock` is monotonic, `clock` and `sleep` are in seconds, and
    `chance` returns a number in [0, 1).
    """

    now: Callable[[], datetime]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    chance: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Enrollment:
    """The init container's configuration.

    `ca` (PEM) is the only CA the signer's certificate may come from; `deadline` is in seconds.
    """

    url: str
    ca: str
    pod_ip: IPv4Address | IPv6Address
    token_file: Path
    directory: Path
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


def enroll(enrollment: Enrollment, runtime: Runtime, say: Callable[[str], None]) -> datetime:
    """Write `tls.key`, `tls.crt` and `ca.crt` into the directory; returns the certificate's end.

    Nothing is written before the certificate has been verified. `say` gets lines for the log while
    the pod waits. Raises EnrollError.
    """
    log = _Log(say, runtime.clock)
    signer = SignerClient(enrollment.url, enrollment.ca, enrollment.token_file)
    if not enrollment.directory.is_dir():
        raise EnrollError(f"{enrollment.directory} is not a folder")
    key = ec.generate_private_key(ec.SECP256R1())
    started, attempt, server_reason = runtime.clock(), 0, ""
    while True:
        left = enrollment.deadline - (runtime.clock() - started)
        try:
            chain, bundle = signer.certificate(key, min(_RESPONSE_SECONDS, max(left, 1.0)))
            not_after = _verify(chain, bundle, key, enrollment.pod_ip, runtime.now())
            _write(enrollment, chain, bundle, key)
            return not_after
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


def _verify(
    chain: bytes,
    bundle: bytes,
    key: ec.EllipticCurvePrivateKey,
    address: IPv4Address | IPv6Address,
    now: datetime,
) -> datetime:
    """Check the certificate, and return its end; raises EnrollError.

    With a wrong certificate Ray would only report that connections fail, not why.
    """
    try:
        leaf, *above = x509.load_pem_x509_certificates(chain)
        authorities = x509.load_pem_x509_certificates(bundle)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        verifier = PolicyBuilder().time(now).store(Store(authorities)).build_client_verifier()
        verifier.verify(leaf, above)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise EnrollError(f"the certificate cannot be read: {error}") from None
    except VerificationError as error:
        raise EnrollError(
            f"the certificate does not verify against its CA bundle: {error}"
        ) from None
    if leaf.public_key() != key.public_key():
        raise EnrollError("the certificate belongs to another key")
    if address not in names.get_values_for_type(x509.IPAddress):
        raise EnrollError(f"the certificate does not contain this pod's IP address {address}")
    return leaf.not_valid_after_utc


def _write(
    enrollment: Enrollment, chain: bytes, bundle: bytes, key: ec.EllipticCurvePrivateKey
) -> None:
    """Write the three files, each atomically: a reader sees the old content or the new content."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = (
        ("ca.crt", bundle, 0o444),
        ("tls.crt", chain, 0o444),
        ("tls.key", private, enrollment.key_mode),
    )
    for name, content, mode in files:
        file = enrollment.directory / name
        try:
            _replace(file, content, mode)
        except OSError as error:
            raise EnrollError(f"{file} cannot be written: {error.strerror}") from None


def _replace(file: Path, content: bytes, mode: int) -> None:
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            # chmod ignores the umask: Ray must be able to read what the mode allows.
            os.fchmod(descriptor, mode)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
