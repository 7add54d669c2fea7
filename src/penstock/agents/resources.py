"""What a tool's declaration says of the things that its writes are about, and of its checks."""

import dataclasses
import hashlib
import inspect
from typing import Literal

from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import ToolInvalid
from penstock.ports.tools import Resource, ToolDef
from penstock.rules.checks import Check


def with_resource(tool: ToolDef, resource: Resource | None, conflict: Literal["deny", "wait"]) -> ToolDef:
    """The tool with its resource. That, and checks that have words of their own, make another release of it.

    Raises:
        ToolInvalid: it reads, or ``conflict`` is no such word.
    """
    if resource is not None and tool.effect != "write":
        raise ToolInvalid(f"the tool {tool.name} reads, and keeps nothing from others", hint="resource is for writes")
    if conflict not in ("deny", "wait"):
        raise ToolInvalid(f"the tool {tool.name} has conflict={conflict!r}; there are 'deny' and 'wait'")
    parts = [check.part for check in tool.validators if isinstance(check, Check)]
    if resource is not None:
        try:
            parts += [inspect.getsource(resource), conflict]
        except (OSError, TypeError):
            parts += [getattr(resource, "__qualname__", repr(type(resource))), conflict]
    if not parts:
        return tool
    digest = hashlib.sha256(stable_json([tool.digest, *parts])).hexdigest()
    return dataclasses.replace(tool, resource=resource, conflict=conflict, digest=digest)
