"""Builds the console once, in a checkout that has not built it yet and where there is Node."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from penstock.server.console_files import ConsoleFiles

SOURCE = Path(__file__).resolve().parents[3] / "console"
"""Of a checkout; an installed package has the built files instead."""
STEPS = (("ci", "--no-audit", "--no-fund"), ("run", "build"))
LINES_KEPT = 5


def _is_installed(source: Path) -> bool:
    """Whether what the console is built with lies there as its lock file has it: npm notes when it installed it."""
    lock, noted = source / "package-lock.json", source / "node_modules" / ".package-lock.json"
    return noted.is_file() and lock.is_file() and noted.stat().st_mtime >= lock.stat().st_mtime


async def build_console(files: ConsoleFiles, say: Callable[[str], None], source: Path = SOURCE) -> bool:
    """Build it, if it is not built; whether it is now. ``say`` is told how it goes."""
    if files.built:
        return True
    npm = shutil.which("npm")
    if not (source / "package.json").is_file():
        files.state = "This installation has no console."
        say("there is no console in this installation; the API works without it")
        return False
    if npm is None:
        files.state = "The console is not built: install Node.js, or run make console."
        say("the console is not built, and there is no npm to build it with: install Node.js and start again")
        return False
    for step in STEPS[1:] if _is_installed(source) else STEPS:
        files.state = f"The console is being built (npm {step[0]}). This happens once."
        say(f"building the console, once: npm {' '.join(step)}")
        process = await asyncio.create_subprocess_exec(
            npm,
            *step,
            cwd=source,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            assert process.stdout is not None
            lines = [line.decode(errors="replace").rstrip() async for line in process.stdout]
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            files.state = f"The console could not be built: npm {' '.join(step)} failed."
            for line in [*lines[-LINES_KEPT:], f"npm {' '.join(step)} failed with exit code {code}"]:
                say(line)
            return False
    say("the console is built")
    return files.built
