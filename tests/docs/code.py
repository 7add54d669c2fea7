"""Running the Python blocks of a page: in order, in one namespace, as a notebook would."""

import ast
import contextlib
import inspect
import io
import linecache
import sys
from types import CodeType, ModuleType
from typing import Self

from tests.docs.pages import Block


class Notebook:
    """The namespace of one page, to be used with ``with``. `await` is allowed at the top level of a block."""

    def __init__(self, name: str) -> None:
        self._module = ModuleType(name)
        sys.modules[name] = self._module  # pydantic and inspect look classes up where they say they are from

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        sys.modules.pop(self._module.__name__, None)

    async def run(self, block: Block) -> list[str]:
        """Run a block; the lines that it printed. What it raises names the page and line."""
        name = f"<{block.place}>"
        linecache.cache[name] = len(block.text), None, block.text.splitlines(keepends=True), name
        code: CodeType = compile(block.text, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            waiting = eval(code, self._module.__dict__)
            if inspect.iscoroutine(waiting):
                await waiting
        return printed.getvalue().splitlines()
