"""Submits a job as any client can: `submit.py URL COMMAND [TOKEN [HEADER]]`.

Prints the HTTP status. KubeRay's operator sends the token in the header `x-ray-authorization`.
"""

import json
import sys
import urllib.error
import urllib.request


def submit(url: str, command: str, token: str = "", header: str = "Authorization") -> int:
    """The HTTP status of a job submission."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers[header] = f"Bearer {token}"
    body = json.dumps({"entrypoint": command}).encode()
    try:
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


if __name__ == "__main__":
    print(submit(*sys.argv[1:]))
