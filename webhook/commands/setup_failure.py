"""How every command ends with a configuration that cannot work."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from webhook.settings import SetupError

_EXIT_CODE = 2


@contextmanager
def setup_failures() -> Iterator[None]:
    """Print a SetupError and end the process."""
    try:
        yield
    except SetupError as error:
        print(f"raywarden: {error}", file=sys.stderr)
        sys.exit(_EXIT_CODE)
