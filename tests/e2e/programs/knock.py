"""Calls a gRPC method: `knock.py ADDRESS:PORT METHOD [CA [KEY CERTIFICATE]]`.

Without a CA, the call is in plaintext.

Ends with 0 if the server answered the call in any way, and with 3 if the connection failed.
"""

import sys
from pathlib import Path

import grpc

_REFUSED = 3
_SECONDS = 10


def knock(target: str, method: str, *files: str) -> str:
    """Call the method with an empty message; describes the answer, or raises RpcError."""
    channel = _channel(target, *(Path(file).read_bytes() for file in files))
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    try:
        answer: bytes = call(b"", timeout=_SECONDS, metadata=(("client_id", "intruder"),))
    except grpc.RpcError as error:
        # This is an answer, too: Ray Client reports that it does not know this client.
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return f"{error.code().name}: {error.details()}"
        raise
    return f"{len(answer)} bytes"


def _channel(
    target: str, ca: bytes = b"", key: bytes | None = None, certificate: bytes | None = None
) -> grpc.Channel:
    if not ca:
        return grpc.insecure_channel(target)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, certificate))


if __name__ == "__main__":
    try:
        print("answered:", knock(*sys.argv[1:]))
    except grpc.RpcError as error:
        print("refused:", error.code().name, error.details())
        sys.exit(_REFUSED)
