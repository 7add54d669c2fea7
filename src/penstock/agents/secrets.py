"""What a tool's declaration says of the secrets that it needs."""

import dataclasses
from collections.abc import Sequence

from penstock.kernel.canonical import digest
from penstock.kernel.errors import ToolInvalid
from penstock.ports.tools import ToolDef

SECRETS_MAX = 20


def with_secrets(tool: ToolDef, secrets: Sequence[str]) -> ToolDef:
    """The tool with the names of its secrets. They make another release of it; their values do not.

    Raises:
        ToolInvalid: it could not be given them, or these are no names.
    """
    if not secrets:
        return tool
    if isinstance(secrets, str) or not all(isinstance(name, str) and name.isprintable() and name for name in secrets):
        raise ToolInvalid(
            f"the tool {tool.name} has secrets={secrets!r}", hint='list their names: secrets=["bank_key"]'
        )
    if len(secrets) > SECRETS_MAX:
        raise ToolInvalid(f"the tool {tool.name} has {len(secrets)} secrets; at most {SECRETS_MAX} are allowed")
    if tool.context_param is None:
        raise ToolInvalid(
            f"the tool {tool.name} declares secrets and cannot ask for them",
            hint="add a parameter `context: ToolContext`, and ask it: context.secret(name)",
        )
    names = tuple(dict.fromkeys(secrets))
    return dataclasses.replace(tool, secrets=names, digest=digest([tool.digest, "secrets", *names]))
