"""The guard before the MCP server on standard input: a line that holds no request still gets a reply.

The protocol's library drops such lines, and their sender would wait for ever. Over HTTP it answers them itself.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from types import TracebackType
from typing import Any, BinaryIO

import anyio
from anyio import EndOfStream
from mcp import types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from memrl.serve.messages import complaints

# Escapes of JSON, the two halves of a pair together; what is left of \uD800 to \uDFFF stands alone.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)

_ID = rb'"id"\s*:\s*(-?(?:0|[1-9][0-9]{0,14})|"[^"\\\x00-\x1f]{0,100}")(?=\s*[,}])'
_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
# Where the libraries write a message's id: first, after the version, or last.
_HEAD = re.compile(rb"\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _ID)
_TAIL = re.compile(_ID + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*\Z")
_TOO_LONG = f"\0too long {secrets.token_hex(16)} "
"""No client can write it."""
_BLOCK = 1 << 16


class Lines:
    """The lines of standard input, of which none takes more memory than it may: one that is longer is passed over, and
    a mark with its number stands in its place.

    Args:
        most: bytes of a line.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most

    def readline(self) -> str:
        """The next line; empty at the end."""
        line = self._file.readline(self._most + 1)
        if len(line) <= self._most or line.endswith(b"\n"):
            return line.decode("utf-8", "replace")
        head, tail = line[:256], line[-256:]
        while rest := self._file.readline(_BLOCK):
            tail = (tail + rest)[-256:]
            if rest.endswith(b"\n"):
                break
        found = _HEAD.match(head) or _TAIL.search(tail)
        number = found[1].decode("utf-8", "replace") if found else "null"
        return f"{_TOO_LONG}{self._most} {number}"


def bounded_lines(most: int) -> anyio.AsyncFile[str]:
    """Return the lines of standard input, as `Lines`. Nothing else in the process gets to read it from now on."""
    wire = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    lines: Any = Lines(os.fdopen(wire, "rb", closefd=False), most)
    return anyio.wrap_file(lines)


class Answered:
    """A stream of messages in which each request can be carried out; the others are answered by an error.

    Args:
        incoming: messages, and what a line that is none raised.
        outgoing: where answers go.
    """

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def last_context(self) -> Any:
        return self._incoming.last_context

    async def receive(self) -> SessionMessage | Exception:
        """The next message."""
        while True:
            item: SessionMessage | Exception = await self._incoming.receive()
            if isinstance(item, ValidationError):
                message = read_again(item)
                if isinstance(message, types.JSONRPCError):
                    await self._outgoing.send(SessionMessage(message))
                if message is None or isinstance(message, types.JSONRPCError):
                    continue
                item = SessionMessage(message)
            return item

    def close(self) -> None:
        self._incoming.close()

    async def aclose(self) -> None:
        await self._incoming.aclose()

    def __aiter__(self) -> Answered:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Answered:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def read_again(error: ValidationError) -> types.JSONRPCMessage | None:
    """Return the message of a line that could not be read: halves of surrogate pairs, which JSON can spell and no text
    can hold, become "?" as everywhere here. Of any other line, the error that answers it; None where none is due.

    Args:
        error: what reading the line raised.
    """
    found = error.errors()
    line = next((each["input"] for each in found if each["type"] == "json_invalid"), None)
    if isinstance(line, str):
        if not line.strip():
            return None
        if line.startswith(_TOO_LONG):
            most, _, number = line.removeprefix(_TOO_LONG).partition(" ")
            why = f"a line may have {most} bytes. Send less at once."
            return _refusal(_name(json.loads(number)), types.INVALID_REQUEST, why)
        try:
            return types.jsonrpc_message_adapter.validate_json(whole_pairs(line), by_name=False)
        except ValidationError as second:
            found = second.errors()
            if any(each["type"] == "json_invalid" for each in found):
                return _refusal(None, types.PARSE_ERROR, "the line is not JSON")
    # Every message lacks something of some form, so that the whole of it stands among what was found.
    lacking = (each["input"] for each in found if each["type"] == "missing" and len(each["loc"]) == 2)
    given = next((each for each in lacking if isinstance(each, dict)), {})
    if "id" not in given and "method" in given:
        return None  # a notification: nobody waits
    return _refusal(_name(given.get("id")), types.INVALID_REQUEST, f"no request of JSON-RPC: {complaints(found)}")


def whole_pairs(line: str) -> str:
    """Return a line of JSON in which no half of a surrogate pair is spelt."""
    return _ESCAPE.sub(lambda escape: "?" if escape[1] else escape[0], line)


def _name(asked: Any) -> int | str | None:
    return asked if isinstance(asked, int | str) and not isinstance(asked, bool) else None


def _refusal(who: int | str | None, code: int, why: str) -> types.JSONRPCError:
    return types.JSONRPCError(jsonrpc="2.0", id=who, error=types.ErrorData(code=code, message=why))
