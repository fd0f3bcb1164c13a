"""An organization's own CA, mounted as files."""

from datetime import datetime

from certs.root import Root, RootError
from webhook.settings import Settings, SetupError


def load_root(settings: Settings, now: datetime) -> Root | None:
    """The root CA in the files of the settings, None if they name no files; raises SetupError."""
    certificate, key = settings.root_cert_file, settings.root_key_file
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise SetupError("set both RAYWARDEN_ROOT_CERT_FILE and RAYWARDEN_ROOT_KEY_FILE")
    try:
        return Root.load(certificate.read_bytes(), key.read_bytes(), now)
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}") from None
    except RootError as error:
        raise SetupError(f"root CA {certificate} with key {key}: {error}") from None
