"""A stranger at a gRPC port: `knock.py ADDRESS:PORT METHOD [CA [KEY CERTIFICATE]]`, without a CA in plaintext.

Ends with 0 where the server answered the call, whatever it answered, and with 3 where it never came to that.
"""

import sys
from pathlib import Path

import grpc

_REFUSED = 3
_SECONDS = 10


def knock(target: str, method: str, *files: str) -> str:
    """What came of a call with an empty message; raises RpcError."""
    channel = _channel(target, *(Path(file).read_bytes() for file in files))
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    try:
        answer: bytes = call(b"", timeout=_SECONDS, metadata=(("client_id", "stranger"),))
    except grpc.RpcError as error:
        # An answer all the same: Ray Client does not know this client, and says so.
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
