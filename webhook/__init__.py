"""RayWarden's server and command line: everything that touches the network, files or the clock."""

from importlib.metadata import version

__version__ = version("raywarden")
