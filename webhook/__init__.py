"""RayWarden's server and command line: everything that touches the network, files or the clock."""

# Written here, because reading it from the installed package takes longer than many commands.
__version__ = "0.1.0"
