"""The outside world: HTTPS, command line, settings, metrics."""

from importlib.metadata import version

__version__ = version("raywarden")
