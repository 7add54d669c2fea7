"""A server that is a process of our own: newline-delimited JSON-RPC over its pipes, with bounds.

The SDK's own transport keeps what a server says until its line ends, however long that is. This one lets go of a line
beyond its bound and answers the call that it was for with an error, so that one answer too large ends neither the
session nor the process.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from anyio.abc import Process
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

TOO_LARGE = -32_098
"""Code of the error that stands for an answer beyond the bound; from the range that JSON-RPC leaves to servers."""
LEAVE_SECONDS = 2.0
"""How long a server may take to end after its input did, and again after it was told to."""
_HEAD_BYTES = 4096
_ID = re.compile(rb'"id"\s*:\s*(\d{1,18}|"[^"\\]{1,100}")')


class Lines:
    """Cuts a stream of bytes into lines, none longer than ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self._dropping = False

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """Each line that has ended, and whether it is whole; of one that is not, only its beginning."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._take(part)
            line, whole = bytes(self._held), not self._dropping
            self._held.clear()
            self._dropping = False
            yield line, whole
        self._take(rest)

    def _take(self, part: bytes) -> None:
        if self._dropping:
            return
        if len(self._held) + len(part) > self._most:
            self._dropping = True
            self._held += part[:_HEAD_BYTES]
            del self._held[_HEAD_BYTES:]
        else:
            self._held += part


def read_line(line: bytes, most: int, *, whole: bool) -> SessionMessage | Exception:
    """The message of a line; of one beyond the bound, the error that answers its call."""
    if whole:
        try:
            return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError as error:
            return error
    found = _ID.search(line)
    if found is None:
        return ValueError(f"a message of more than {most:,} bytes")
    text = found[1].decode()
    known: int | str = text[1:-1] if text.startswith('"') else int(text)
    refusal = types.ErrorData(code=TOO_LARGE, message=f"the answer has more than {most:,} bytes")
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=known, error=refusal))


@contextlib.asynccontextmanager
async def stdio_transport(
    command: Sequence[str], env: Mapping[str, str], cwd: Path | None, most_bytes: int
) -> AsyncIterator[tuple[Any, Any]]:
    """Start the server in a process group of its own, and give its streams of messages.

    It gets the few variables that every program needs, and ``env``: never this process's own, which hold secrets.

    Raises:
        OSError: it cannot be started.
    """
    process = await anyio.open_process(
        list(command),
        env={**get_default_environment(), **env},
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        start_new_session=True,
    )
    to_read, readable = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    writable, to_write = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        assert process.stdout is not None
        lines = Lines(most_bytes)
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, ConnectionError):
            async with to_read:
                async for chunk in process.stdout:
                    for line, whole in lines.feed(chunk):
                        if line.strip():
                            await to_read.send(read_line(line, most_bytes, whole=whole))

    async def write() -> None:
        assert process.stdin is not None
        try:
            async with to_write:
                async for message in to_write:
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await process.stdin.send(text.encode() + b"\n")
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            await to_read.aclose()  # so that nobody waits for an answer to what could not be said

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        try:
            yield readable, writable
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
                for stream in (readable, writable, to_read, to_write):
                    await stream.aclose()
            tasks.cancel_scope.cancel()


async def _end(process: Process) -> None:
    """Close its input, then ask it to end, then end it, with all that it started."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            _signal(process.pid, number)
        with anyio.move_on_after(LEAVE_SECONDS):
            await process.wait()
            break
    _signal(process.pid, signal.SIGKILL)  # what it started and left behind
    with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdout.aclose()
    await process.aclose()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
