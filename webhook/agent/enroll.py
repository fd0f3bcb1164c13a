"""The init container's program: a key is born in the pod, and a certificate for it asked for until it is there.

Starts in milliseconds: neither the server nor a Kubernetes client is imported.
"""

import json
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

_ENROLLMENT_PATH = "/v1/certificates"
_MAX_ANSWER_BYTES = 1024 * 1024
_MAX_TOKEN_BYTES = 64 * 1024
_ANSWER_SECONDS = 20.0
_FIRST_PAUSE, _LAST_PAUSE = 0.25, 10.0
# Worth another try: too early, too often, or the server's own trouble (RFC 9110, RFC 6585).
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class EnrollError(Exception):
    """There is no certificate and will be none; the message is one line that says why."""


class _TryAgainError(Exception):
    """This attempt failed, another may not. `answered`: by the server, which asked to wait for `after` seconds."""

    def __init__(self, reason: str, after: float = 0.0, *, answered: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.answered = answered


@dataclass(frozen=True, slots=True)
class Runtime:
    """Time and chance: `now` for certificates, `clock` and `sleep` in seconds, `chance` in [0, 1)."""

    now: Callable[[], datetime]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    chance: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What the init container was given. `ca` (PEM) is all that is trusted; `deadline` is in seconds."""

    url: str
    ca: str
    pod_ip: IPv4Address | IPv6Address
    token_file: Path
    directory: Path
    key_mode: int
    deadline: float


def enroll(enrollment: Enrollment, surroundings: Runtime) -> datetime:
    """Put `tls.key`, `tls.crt` and `ca.crt` into the directory; gives the time the certificate ends.

    Nothing is written before the certificate has been verified. Raises EnrollError.
    """
    _parsed(enrollment.url)
    if not enrollment.directory.is_dir():
        raise EnrollError(f"{enrollment.directory} is no folder")
    context = _trusting(enrollment.ca)
    key = ec.generate_private_key(ec.SECP256R1())
    started, attempt, answered = surroundings.clock(), 0, ""
    while True:
        left = enrollment.deadline - (surroundings.clock() - started)
        try:
            chain, bundle = _ask(enrollment, context, key, min(_ANSWER_SECONDS, max(left, 1.0)))
            not_after = _verify(chain, bundle, key, enrollment.pod_ip, surroundings.now())
            _write(enrollment, chain, bundle, key)
            return not_after
        except _TryAgainError as failure:
            # What the server said tells more than that the last attempt was cut short.
            answered = str(failure) if failure.answered else answered
            # Pods of one cluster start together: without the jitter they would also come back together.
            pause = min(_LAST_PAUSE, _FIRST_PAUSE * 2**attempt) * (0.5 + surroundings.chance() / 2)
            pause = max(pause, failure.after)
            if surroundings.clock() - started + pause > enrollment.deadline:
                raise EnrollError(
                    f"no certificate within {enrollment.deadline:g} s: {answered or failure}"
                ) from None
            surroundings.sleep(pause)
            attempt += 1


def _trusting(ca: str) -> ssl.SSLContext:
    """A context that trusts `ca` and nothing else."""
    # Not `create_default_context`: given an empty `cadata`, that one trusts every CA of the system.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise EnrollError("RAYWARDEN_SIGNER_CA holds no certificate in PEM form") from None
    return context


def _ask(
    enrollment: Enrollment, context: ssl.SSLContext, key: ec.EllipticCurvePrivateKey, seconds: float
) -> tuple[bytes, bytes]:
    """Ask once; gives the chain and the CA bundle (PEM)."""
    url = _parsed(enrollment.url)
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hashes.SHA256())
    )
    body = json.dumps({"csr": request.public_bytes(Encoding.PEM).decode()})
    # Read anew for every attempt: the kubelet renews it.
    headers = {
        "Authorization": f"Bearer {_token(enrollment.token_file)}",
        "Content-Type": "application/json",
    }
    # No proxy: what stands in the environment of a pod is its author's, and is not asked.
    connection = HTTPSConnection(url.hostname or "", url.port, timeout=seconds, context=context)
    try:
        connection.request("POST", url.path.rstrip("/") + _ENROLLMENT_PATH, body, headers)
        response = connection.getresponse()
        answer = response.read(_MAX_ANSWER_BYTES)
        status, after = response.status, response.headers.get("Retry-After", "")
    except (OSError, HTTPException, UnicodeError) as error:
        raise _TryAgainError(f"{enrollment.url}: {_reason(error)}") from None
    finally:
        connection.close()
    if status in _RETRIED:
        pause = min(float(after), 60.0) if after.isdecimal() else 0.0
        raise _TryAgainError(f"{status}: {_detail(answer)}", pause, answered=True)
    if status == 404:
        raise EnrollError(
            f"nobody enrolls at {enrollment.url}: is RAYWARDEN_SIGNER_URL the enrollment port?"
        )
    if status != 200:
        raise EnrollError(f"refused ({status}): {_detail(answer)}")
    return _certificates(answer)


def _parsed(url: str) -> SplitResult:
    """The parts of the URL; reading `port` is what finds out that it is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname and (parts.port or 443) > 0:
            return parts
    except ValueError:
        pass
    raise EnrollError(f"RAYWARDEN_SIGNER_URL is no https URL: {url}")


def _token(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            token = opened.read(_MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _TryAgainError(f"the token {file} cannot be read ({_reason(error)})") from None
    if not token or not token.isprintable():
        raise _TryAgainError(f"there is no token in {file}")
    return token


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _detail(answer: bytes) -> str:
    """What a problem (RFC 9457) says, as one printable line; whatever else came is not repeated."""
    try:
        detail = json.loads(answer)["detail"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "no reason given"
    return "".join(c if c.isprintable() else " " for c in str(detail)[:1000])


def _certificates(answer: bytes) -> tuple[bytes, bytes]:
    try:
        document = json.loads(answer)
        return document["certificate"].encode(), document["caBundle"].encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _TryAgainError("the answer is not one of RayWarden") from None


def _verify(
    chain: bytes,
    bundle: bytes,
    key: ec.EllipticCurvePrivateKey,
    address: IPv4Address | IPv6Address,
    now: datetime,
) -> datetime:
    """Ray would only say that connections fail: what is wrong with a certificate is found here."""
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
        raise EnrollError("the certificate is for another key")
    if address not in names.get_values_for_type(x509.IPAddress):
        raise EnrollError(f"the certificate does not hold this pod's address {address}")
    return leaf.not_valid_after_utc


def _write(
    enrollment: Enrollment, chain: bytes, bundle: bytes, key: ec.EllipticCurvePrivateKey
) -> None:
    """All three files, each at once: a reader sees the old one or the new one."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, content, mode in _files(chain, bundle, private, enrollment.key_mode):
        try:
            _replace(enrollment.directory / name, content, mode)
        except OSError as error:
            raise EnrollError(
                f"{enrollment.directory / name} cannot be written: {error.strerror}"
            ) from None


def _files(
    chain: bytes, bundle: bytes, private: bytes, key_mode: int
) -> Iterator[tuple[str, bytes, int]]:
    yield "ca.crt", bundle, 0o444
    yield "tls.crt", chain, 0o444
    yield "tls.key", private, key_mode


def _replace(file: Path, content: bytes, mode: int) -> None:
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            # Past the umask: Ray must be able to read what the mode says it can.
            os.fchmod(descriptor, mode)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
