"""The signer, as the init container reaches it: one HTTPS request for a certificate."""

import json
import ssl
from urllib.parse import SplitResult, urlsplit

from webhook.agent.https_post import NotHttpError, Response, post
from webhook.agent.key import PodKey

_ENROLLMENT_PATH = "/v1/certificates"
_HTTPS_PORT = 443
# Far above real sizes: a wrong file must not fill the init container's memory.
_MAX_TOKEN_BYTES = 64 * 1024
# The termination message of a container holds 4096 bytes.
_MAX_DETAIL_CHARACTERS = 1000
# A wrong Retry-After must not keep a pod from trying again.
_MAX_RETRY_AFTER_SECONDS = 60.0
# Another attempt may succeed: too early, too often, or a fault of the server (RFC 9110, RFC 6585).
_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class EnrollError(Exception):
    """The pod gets no certificate, and trying again will not help; the message is one line."""


class TryAgainError(Exception):
    """This attempt failed, another may succeed.

    `after` is the pause in seconds that the server asked for. `from_server` says that the reason
    is the server's own.
    """

    def __init__(self, reason: str, after: float = 0.0, *, from_server: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.from_server = from_server


class SignerClient:
    """RayWarden's enrollment at `url` (https), whose certificate must come from `ca` (PEM).

    Raises EnrollError if one of the two is invalid.
    """

    def __init__(self, url: str, ca: str, token_file: str) -> None:
        self._url = url
        self._parts = _parse_url(url)
        self._context = tls_context(ca)
        self._token_file = token_file

    def certificate(self, key: PodKey, timeout: float) -> tuple[str, str]:
        """Send one request; returns the certificate chain and the CA bundle (PEM).

        `timeout` is in seconds. Raises TryAgainError and EnrollError.
        """
        status, headers, content = self._post(key.csr(), timeout)
        if status in _RETRIED_STATUSES:
            pause, retry_after = 0.0, headers.get("retry-after", "")
            if retry_after.isdecimal():
                pause = min(float(retry_after), _MAX_RETRY_AFTER_SECONDS)
            raise TryAgainError(f"{status}: {_detail(content)}", pause, from_server=True)
        if status == 404:
            raise EnrollError(
                f"{self._url} does not offer enrollment: "
                "set RAYWARDEN_SIGNER_URL to the enrollment port"
            )
        if status != 200:
            raise EnrollError(f"refused ({status}): {_detail(content)}")
        return _certificates(content)

    def _post(self, csr: str, timeout: float) -> Response:
        headers = {
            # Read the token for every attempt: the kubelet renews it.
            "Authorization": f"Bearer {_token(self._token_file)}",
            "Content-Type": "application/json",
        }
        address = (self._parts.hostname or "", self._parts.port or _HTTPS_PORT)
        target = self._parts.path.rstrip("/") + _ENROLLMENT_PATH
        body = json.dumps({"csr": csr}).encode()
        try:
            return post(address, target, headers, body, self._context, timeout)
        except NotHttpError:
            raise TryAgainError(f"{self._url}: the answer is not HTTP") from None
        except (OSError, UnicodeError) as error:
            raise TryAgainError(f"{self._url}: {_reason(error)}") from None


def tls_context(ca: str) -> ssl.SSLContext:
    """A client context that trusts `ca` (PEM) and no other CA."""
    # Not `create_default_context`: with an empty `cadata` it trusts every CA of the system.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=ca)
    # A TypeError is raised for text that is not ASCII.
    except (ssl.SSLError, ValueError, TypeError):
        raise EnrollError("RAYWARDEN_SIGNER_CA does not contain a PEM certificate") from None
    return context


def _parse_url(url: str) -> SplitResult:
    """The parts of an https URL; raises EnrollError for anything else."""
    try:
        parts = urlsplit(url)
        # Reading `port` raises ValueError if it is not a valid port.
        has_port = (parts.port or _HTTPS_PORT) > 0
        if parts.scheme == "https" and parts.hostname and has_port and _is_plain(parts.path):
            return parts
    except ValueError:
        pass
    raise EnrollError(f"RAYWARDEN_SIGNER_URL is not an https URL: {url}")


def _is_plain(path: str) -> bool:
    """The path can stand in a request as it is."""
    return path.isascii() and path.isprintable() and " " not in path


def _token(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            token = stream.read(_MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TryAgainError(f"the token {file} cannot be read ({_reason(error)})") from None
    if not token or not token.isprintable():
        raise TryAgainError(f"{file} does not contain a token")
    return token


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _detail(content: bytes) -> str:
    """The detail of a problem (RFC 9457) as one printable line.

    Other content is not repeated: it would end up in the pod's status.
    """
    try:
        detail = json.loads(content)["detail"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "no reason given"
    clipped = str(detail)[:_MAX_DETAIL_CHARACTERS]
    return "".join(c if c.isprintable() else " " for c in clipped)


def _certificates(content: bytes) -> tuple[str, str]:
    try:
        document = json.loads(content)
        chain, bundle = document["certificate"], document["caBundle"]
        if isinstance(chain, str) and isinstance(bundle, str) and (chain + bundle).isascii():
            return chain, bundle
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise TryAgainError("the response is not from RayWarden")
