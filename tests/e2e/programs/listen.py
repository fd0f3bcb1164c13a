"""Listens on TCP ports until its input ends: `listen.py PORT...`; prints `ready` first."""

import socket
import sys

if __name__ == "__main__":
    sockets = [socket.create_server(("", int(port)), backlog=100) for port in sys.argv[1:]]
    print("ready", flush=True)
    sys.stdin.read()
