"""Walking through a page: every example is run, and must print what the page shows.

What the first line of a block says:

* ``python`` — run, in order, in one namespace a page; a ``text`` block right after it is what it prints
* ``python file=examples/x.py`` — a piece of that file, word for word; the file is put into the page's folder
* ``console`` — the lines after ``$`` are run, in one shell a page; the others are what they print. A command ends with
  exit code 0, or with the one that its comment says: ``# exit code 2``
* any language with ``save=name`` — the block is put into the page's folder under that name
* ``text``, and no language — shown only
"""

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.docs.code import Notebook
from tests.docs.pages import PAGES, ROOT, Block, blocks_of, commands_of
from tests.docs.place import Place
from tests.docs.readme import README, walk_readme
from tests.docs.session import Shell
from tests.docs.shown import ANY_LINES, Ids, mismatch

SHOWN_ONLY = {"", "text"}
# Commands that only look: what they show may not have happened yet, so they are asked again.
LOOKS = re.compile(r"^(penstock (runs (ls|show|replay)|approvals (ls|show)|audit verify)|cat|wc|grep|tail)\b")
LOOK_SECONDS = 60.0
_KILLED = re.compile(r"^bash: line \d+: +\d+ (Killed|Terminated) ")


async def walk_page(page: Path, place: Place) -> None:
    """Run a page's examples in order.

    Raises:
        AssertionError: one does not do what the page shows; the words name the place.
    """
    ids = Ids()
    printed: list[str] | None = None
    with Notebook(f"page_{page.stem.replace('-', '_')}") as notebook:
        async with Shell(place.folder, place.environment) as shell:
            for block in blocks_of(page):
                if block.language == "text" and printed is not None:
                    problem = mismatch(block.text.splitlines(), printed, ids)
                    assert problem is None, f"{block.place}: {problem}\nprinted:\n" + "\n".join(printed)
                printed = None
                if "file" in block.about:
                    quote(block, place.folder)
                elif "save" in block.about:
                    (place.folder / block.about["save"]).write_text(block.text, encoding="utf-8")
                elif block.language == "python":
                    async with place.entered():
                        printed = await notebook.run(block)
                elif block.language == "console":
                    for command, shown in commands_of(block):
                        await check_command(shell, block, command, shown, ids)
                else:
                    assert block.language in SHOWN_ONLY, f"{block.place}: nothing runs {block.language}"


def quote(block: Block, folder: Path) -> None:
    """The block is a piece of a file of the repository; the page's commands find that file."""
    source = ROOT / block.about["file"]
    assert block.text.strip("\n") in source.read_text(encoding="utf-8"), f"{block.place}: not what {source.name} says"
    shutil.copy(source, folder)


async def check_command(shell: Shell, block: Block, shown_command: str, shown: list[str], ids: Ids) -> None:
    """Run one command, again while it only looks and does not see it yet, and compare."""
    command = ids.in_command(shown_command)
    wanted = re.search(r"# exit code (\d+)$", command)
    expected_code = int(wanted[1]) if wanted else 0
    if wanted:
        command = command[: wanted.start()].rstrip()
    while shown and not shown[-1].strip():
        shown = shown[:-1]
    end = asyncio.get_running_loop().time() + LOOK_SECONDS
    while True:
        code, printed = await shell.run(command)
        printed = [line for line in printed if not _KILLED.match(line)]
        # A command whose output is not shown may print what it likes.
        problem = mismatch(shown or [ANY_LINES], printed, ids)
        if code != expected_code:
            problem = f"exit code {code} instead of {expected_code}"
        if problem is None:
            return
        if not LOOKS.match(command) or asyncio.get_running_loop().time() > end:
            break
        await asyncio.sleep(0.1)
    text = "\n".join(printed)
    raise AssertionError(f"{block.place}: $ {command}\n{problem}\nprinted:\n{text}")


def _how_long(name: str) -> int:
    """A guess: commands take longer than blocks of Python."""
    return sum(block.text.count("$ ") for block in blocks_of(ROOT / name) if block.language == "console")


_WALKS: dict[str, Callable[[Place], Awaitable[None]]] = {
    page.relative_to(ROOT).as_posix(): partial(walk_page, page) for page in PAGES if page != README and blocks_of(page)
} | {"README.md": walk_readme}

WALKS = {name: _WALKS[name] for name in sorted(_WALKS, key=_how_long, reverse=True)}
"""What walks through each page that has examples. The longest comes first."""
