"""`make release`: what users download, built from a commit so that anyone gets the same bytes."""


class ReleaseError(Exception):
    """The release cannot be built; the message says why and what to do."""
