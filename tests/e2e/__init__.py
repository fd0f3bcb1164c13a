"""`make e2e` runs real Ray clusters with what RayWarden injects and signs.

Each pod is a set of Linux namespaces on this machine.
"""
