"""Whoever reaches a job port: `submit.py URL COMMAND [TOKEN]` asks for a command; prints the status."""

import json
import sys
import urllib.error
import urllib.request


def submit(url: str, command: str, token: str = "") -> int:
    """The HTTP status of a job submission."""
    headers = {
        "Content-Type": "application/json",
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    body = json.dumps({"entrypoint": command}).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers), timeout=30
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


if __name__ == "__main__":
    print(submit(*sys.argv[1:]))
