"""Agents by ``module:attribute``, as a command line names them. Modules of the current folder can be imported."""

import difflib
import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from penstock.kernel.errors import AgentInvalid, AgentUnknown, PenstockError

if TYPE_CHECKING:
    from penstock.agents.definition import Definition

TRACE_FRAMES = 8
"""Frames of the user's own code shown when a module cannot be imported; the last ones."""


def load_agents(target: str) -> "list[Definition]":
    """The agents that ``module`` defines, or the one (or the list) that ``module:attribute`` is.

    Raises:
        AgentUnknown: no such module or attribute, or it is no agent, or the module has none.
        AgentInvalid: the module raised while it was imported; ``fields["traceback"]`` shows where.
    """
    from penstock.agents.definition import Definition

    module_name, colon, attribute = target.partition(":")
    if not module_name or (colon and not attribute):
        raise AgentUnknown(f"{target!r} names no agent", hint="write module:attribute, for example support:desk")
    module = _import(module_name)
    if not colon:
        agents = _agents_in(module)
        if not agents:
            raise AgentUnknown(
                f"the module {module_name} defines no agents", hint="make one with penstock.Agent or @penstock.agent"
            )
        return list(agents.values())
    found = _attribute(module, attribute)
    if isinstance(found, Definition):
        return [found]
    if isinstance(found, Iterable) and not isinstance(found, str | bytes):
        items = list(found.values()) if isinstance(found, dict) else list(found)
        if items and all(isinstance(item, Definition) for item in items):
            return items
    raise AgentUnknown(
        f"{target} is a {type(found).__name__}, not an agent", hint=_offer(module) or "it defines no agents"
    )


def load_agent(target: str) -> "Definition":
    """The one agent that ``target`` names.

    Raises:
        AgentUnknown: as `load_agents`, or there are several.
        AgentInvalid: as `load_agents`.
    """
    agents = load_agents(target)
    if len(agents) > 1:
        module = sys.modules[target.partition(":")[0]]
        raise AgentUnknown(
            f"{target} has {len(agents)} agents; one is needed", hint=_offer(module) or "name one of them"
        )
    return agents[0]


def import_from_here() -> None:
    """Let modules of the current folder be imported."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _import(name: str) -> ModuleType:
    import_from_here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise AgentUnknown(f"there is no module named {error.name!r}", hint=_near_module(name)) from None
        raise _broken(name, error) from error
    except PenstockError as error:
        error.fields.setdefault("traceback", _trace(error))
        raise
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> AgentInvalid:
    words = f"{type(error).__name__}: {error}".rstrip(": ")
    return AgentInvalid(
        f"the module {name} cannot be imported: {words}",
        hint="the lines above show where; mend it and try again",
        traceback=_trace(error),
    )


def _trace(error: BaseException) -> str:
    """The user's part of a traceback: without this package's frames and the import machinery's."""
    ours = str(Path(__file__).parent.parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, "<frozen")) and "importlib" not in frame.filename
    ]
    lines = traceback.format_list(frames[-TRACE_FRAMES:])
    last = [] if isinstance(error, PenstockError) else traceback.format_exception_only(error)
    return "".join([*lines, *last]).rstrip("\n")


def _attribute(module: ModuleType, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        if not hasattr(value, name):
            names = sorted({*_agents_in(module), *(item for item in vars(module) if not item.startswith("_"))})
            near = difflib.get_close_matches(path, names, n=1)
            hint = f"did you mean {module.__name__}:{near[0]}?" if near else _offer(module) or "it defines no agents"
            raise AgentUnknown(f"the module {module.__name__} has no attribute {path!r}", hint=hint)
        value = getattr(value, name)
    return value


def _agents_in(module: ModuleType) -> "dict[str, Definition]":
    """The agents among a module's attributes, each once, by its first name."""
    from penstock.agents.definition import Definition

    found: dict[str, Definition] = {}
    for name, value in vars(module).items():
        if isinstance(value, Definition) and all(value is not known for known in found.values()):
            found[name] = value
    return found


def _offer(module: ModuleType) -> str:
    names = ", ".join(f"{module.__name__}:{name}" for name in _agents_in(module))
    return f"its agents are: {names}" if names else ""


def _near_module(name: str) -> str:
    if name.endswith(".py") or "/" in name:
        return f"write it as a module: {name.removesuffix('.py').strip('./').replace('/', '.')}:attribute"
    here = [path.stem for path in Path.cwd().glob("*.py")]
    here += [path.parent.name for path in Path.cwd().glob("*/__init__.py")]
    near = difflib.get_close_matches(name.split(".", maxsplit=1)[0], here, n=1)
    return f"did you mean {near[0]}?" if near else f"run it from the folder that holds it, or install it ({Path.cwd()})"
