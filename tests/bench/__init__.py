"""Measurements of a real server process, over TLS, with the client in a process of its own (`make bench`).

Figures of one run on one machine: compare them with each other and with those of the same run, not with other days'.
"""
