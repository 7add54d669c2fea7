"""How another process finds the function of a tool: by module and name, as pickle finds functions."""

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock.kernel.errors import ToolInvalid
from penstock.ports.tools import ToolDef

_SCRIPT = "__mp_main__"  # the name that multiprocessing gives a script in its children; guards and libraries know it


@dataclass(slots=True, frozen=True)
class Address:
    """Where a tool's function is: ``module`` here, which the other process loads as ``load_as``, from ``file``."""

    module: str
    load_as: str
    file: str | None
    qualname: str
    digest: str  # of the tool that was declared under that name; empty if the name holds the bare function


def check_sendable(label: str, function: Callable[..., Any]) -> None:
    """Check that another process can find the function by name.

    Whether the name really holds the function cannot be known while its module is still being imported:
    `address_of` sees to that before the first call. A tool of the program's own script passes, since its file can be
    loaded; one of an interactive session has no file.

    Raises:
        ToolInvalid: it cannot; with what to do.
    """
    if not inspect.isfunction(function) or "<" in function.__qualname__:
        raise _unsendable(label, "it is no function at the top level of a module")
    if function.__module__ == "__main__" and not _script_name(sys.modules["__main__"]):
        raise _unsendable(label, "it belongs to an interactive session, which has no file to load it from")


def address_of(tool: ToolDef) -> Address:
    """The address of the tool's function.

    Raises:
        ToolInvalid: the function is not what its module holds under its name.
    """
    function = tool.call
    check_sendable(tool.name, function)
    module = sys.modules.get(function.__module__)
    found = None
    with contextlib.suppress(AttributeError):
        found = _look_up(module, function.__qualname__)
    if module is None or _function(found) is not function:
        where = f"{function.__module__}.{function.__qualname__}"
        raise _unsendable(tool.name, f"{where} is not that function (a decorator without functools.wraps?)")
    load_as = _script_name(module) if module.__name__ == "__main__" else function.__module__
    return Address(
        function.__module__, load_as, getattr(module, "__file__", None), function.__qualname__, _digest(found)
    )


def load(address: Address) -> Callable[..., Any]:
    """The function at that address; called in the other process.

    Raises:
        ToolInvalid: the code there is another than the one that was asked for.
        BaseException: whatever importing the module raises.
    """
    module = sys.modules.get(address.load_as)
    if module is None:
        if address.module == "__main__":
            # A script that starts its program without asking for its name would start it here, too: runs would be
            # submitted and claimed by a process that is to make one call. Inside a running loop it cannot.
            module = asyncio.run(_load_inside_a_loop(address))
        else:
            module = _load_module(address)
    if address.module == "__main__":
        sys.modules["__main__"] = module  # where pickle looks for the classes of the script
    found = _look_up(module, address.qualname)
    if _digest(found) != address.digest:
        raise ToolInvalid(
            f"the code of {address.module}.{address.qualname} has changed since this program was started",
            hint="start the program again; in production, install a release beside the old one, never over it",
        )
    function: Callable[..., Any] = _function(found)
    return function


async def _load_inside_a_loop(address: Address) -> ModuleType:
    return _load_module(address)


def _load_module(address: Address) -> ModuleType:
    """Import by name; where the name leads elsewhere (a script, a test, a file loaded by its path), by file."""
    spec = None
    with contextlib.suppress(ModuleNotFoundError, ValueError):
        spec = importlib.util.find_spec(address.load_as)
    if spec is not None and (address.file is None or _same_file(spec.origin, address.file)):
        return importlib.import_module(address.load_as)
    if address.file is None:
        raise ModuleNotFoundError(f"No module named {address.load_as!r}", name=address.load_as)
    spec = importlib.util.spec_from_file_location(address.load_as, address.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{address.file} cannot be loaded as a module", name=address.load_as)
    module = importlib.util.module_from_spec(spec)
    sys.modules[address.load_as] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[address.load_as]
        raise
    return module


def _same_file(left: str | None, right: str) -> bool:
    with contextlib.suppress(OSError):
        return left is not None and (left == right or Path(left).samefile(right))
    return False


def _script_name(main: ModuleType) -> str:
    """What to load ``__main__`` as: its name after ``python -m``, a stand-in for a script, nothing without a file."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    return _SCRIPT if getattr(main, "__file__", None) else ""


def _look_up(module: Any, qualname: str) -> Any:
    found = module
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _definition(found: Any) -> ToolDef | None:
    definition = getattr(found, "definition", None)
    return definition if isinstance(definition, ToolDef) else None


def _function(found: Any) -> Any:
    """A declared tool stands under its function's name."""
    definition = _definition(found)
    return found if definition is None else definition.call


def _digest(found: Any) -> str:
    definition = _definition(found)
    return "" if definition is None else definition.digest


def _unsendable(label: str, why: str) -> ToolInvalid:
    return ToolInvalid(
        f"the tool {label} writes and is not async, so it runs in a process of its own, which cannot find it: {why}",
        hint="make it `async def`, or move it to the top level of a module",
    )
