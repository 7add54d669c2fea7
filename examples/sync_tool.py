"""A synchronous write: it runs in a process of its own, which a time-out kills."""

import asyncio
import os
from pathlib import Path

from penstock import Run, agent, tool
from penstock.testing import in_memory


@tool(effect="write", permission="auto", in_doubt="idempotent")
def write_note(name: str, text: str) -> str:
    """Keep a note."""
    Path(name).write_text(text)
    return f"process {os.getpid()} wrote it"


@agent("note-taker")
async def note_taker(run: Run, text: str) -> str:
    """Keep the text in a file."""
    words: str = await run.call(write_note, "note.txt", text)
    return words


async def main() -> None:
    """Run it once."""
    async with in_memory():
        result = await note_taker.run("buy milk")
    print(result.outcome)
    print("written by another process:", str(os.getpid()) not in result.output)


if __name__ == "__main__":
    asyncio.run(main())
