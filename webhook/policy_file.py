"""The policy file on disk."""

from pathlib import Path

from policies.config import Policy, PolicyError
from policies.untrusted_yaml import UntrustedYamlError, load_all
from webhook.settings import SetupError


def load_policy(file: Path | None) -> Policy:
    """The policy in `file`, the default policy for None; raises SetupError with every problem and its place."""
    if file is None:
        return Policy.parse(None)
    try:
        documents = list(load_all(file.read_text()))
        if len(documents) > 1:
            raise PolicyError("a policy file holds one document")
        return Policy.parse(documents[0] if documents else None)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SetupError(f"{file}: not UTF-8 text") from None
    except (PolicyError, UntrustedYamlError) as error:
        raise SetupError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from None
