"""Answers of the Kubernetes API: JSON objects, lines of a watch, and network errors."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from policies.documents.untyped import as_dict, as_str
from webhook import json_text
from webhook.kube.request import Request, TooLargeError, refusal
from webhook.ports import UnavailableError

# etcd stores at most 1.5 MiB of an object, in protobuf; as JSON, no event comes near this size.
_MAX_EVENT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the objects in a list, and the resourceVersion of the whole list.

    `remaining` is how many objects follow, as far as the API server says.
    """

    items: Sequence[Mapping[str, Any]]
    version: str
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """The object as it would be stored, and the Warning headers as sent (RFC 9111, 5.5)."""

    document: Mapping[str, Any]
    warnings: tuple[str, ...]


async def content(request: Request, chunks: AsyncIterator[bytes]) -> bytes:
    """The whole body of an answer; raises TooLargeError for one over the limit of the request."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if request.most_bytes and len(body) > request.most_bytes:
            raise TooLargeError(f"{request}: the answer is larger than {request.most_bytes} bytes")
    return bytes(body)


def json_object(request: Request, content: bytes) -> Mapping[str, Any]:
    """The JSON object in an answer; raises UnavailableError if it is anything else."""
    try:
        document = json_text.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UnavailableError(f"{request}: the answer is not a JSON object")
    return document


def event(request: Request, line: bytes) -> Event:
    """The event in a line of a watch; raises the exception for an event that reports an error."""
    envelope = json_object(request, line)
    event_type, document = as_str(envelope.get("type")), as_dict(envelope.get("object"))
    if event_type == "ERROR":
        code = document.get("code")
        status = code if isinstance(code, int) else 500
        raise refusal(request, status, "", line)
    return Event(event_type, document)


async def lines(request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines in a stream of bytes; raises UnavailableError for one that is too long.

    aiohttp's own line reader fails for lines over 4 MiB, which events may exceed.
    """
    unfinished = bytearray()
    async for chunk in chunks:
        *line_ends, rest = chunk.split(b"\n")
        for line_end in line_ends:
            yield bytes(unfinished + line_end)
            unfinished.clear()
        unfinished += rest
        if len(unfinished) > _MAX_EVENT_BYTES:
            raise UnavailableError(f"{request}: an event is longer than {_MAX_EVENT_BYTES} bytes")


def network_problem(error: Exception) -> str:
    """What went wrong with the connection, for the operator."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the API server's certificate is not trusted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = os.strerror(error.os_error.errno or 0)
        return f"the API server cannot be reached at {error.host}:{error.port} ({reason})"
    return f"the connection to the API server broke ({type(error).__name__})"
