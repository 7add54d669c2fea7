"""What is declared of where a tool's words come from, and where its arguments must."""

import dataclasses
import hashlib
from collections.abc import Sequence

from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import ToolInvalid
from penstock.ports.tools import Returns, ToolDef


def with_provenance(tool: ToolDef, returns: Returns, reveals: Sequence[str], grounded: Sequence[str] | None) -> ToolDef:
    """The tool with what is said of it; what is said is part of its digest, so that changing it makes a release.

    Raises:
        ToolInvalid: an argument that it does not have, or ``grounded`` of a tool that does not write.
    """
    if returns not in ("trusted", "untrusted"):
        raise ToolInvalid(f"the tool {tool.name} returns {returns!r}; there are 'trusted' and 'untrusted'")
    if isinstance(reveals, str) or isinstance(grounded, str):
        raise ToolInvalid(f"the tool {tool.name} names its arguments as one text", hint="write a list of names")
    known = tool.spec.schema.get("properties", {})
    for name in (*reveals, *(grounded or ())):
        if known and name not in known:
            raise ToolInvalid(f"the tool {tool.name} has no argument {name!r}")
    if grounded is not None and tool.effect != "write":
        raise ToolInvalid(f"the tool {tool.name} does not write, so nothing of it need be grounded")
    if returns == "trusted" and not reveals and grounded is None:
        return tool
    said = [tool.digest, returns, sorted(reveals), None if grounded is None else sorted(grounded)]
    return dataclasses.replace(
        tool,
        returns=returns,
        reveals=tuple(reveals),
        grounded=None if grounded is None else tuple(grounded),
        digest=hashlib.sha256(stable_json(said)).hexdigest(),
    )
