"""`make bench` measures a real server process over TLS, with the client in another process.

Compare figures only within one run: they depend on the machine and on what else it does.
"""
