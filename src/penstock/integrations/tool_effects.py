"""What is declared of tools whose code is somebody else's: another framework's, or a server's."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

import msgspec

from penstock.agents.provenance import with_provenance
from penstock.agents.secrets import with_secrets
from penstock.kernel.canonical import digest
from penstock.kernel.errors import GateMisused, ToolInvalid
from penstock.ports.model import ToolSpec
from penstock.ports.tools import (
    Confirm,
    Effect,
    InDoubt,
    Permission,
    Returns,
    Risk,
    ToolArgsInvalid,
    ToolDef,
    Validator,
)

CONTEXT = "penstock_context"
"""The parameter in which a declared tool gets its `ToolContext`."""
_IN_DOUBT = ("idempotent", "keyed", "confirm", "escalate")


class ToolEffect(TypedDict, total=False):
    """What a tool does to the world, as for `penstock.tool`; see there for each. Nothing said: a write that a person
    approves first."""

    effect: Effect
    risk: Risk
    permission: Permission
    in_doubt: InDoubt
    timeout_seconds: float
    validate: Sequence[Validator]
    confirm: Confirm
    attempts: int
    retry_on: Sequence[type[Exception]]
    hedge_after: float
    needs_seconds: float
    repeatable: bool
    key_seconds: float
    approval_seconds: float
    labels: dict[str, str]
    returns: Returns
    reveals: Sequence[str]
    grounded: Sequence[str]
    secrets: Sequence[str]


def declared(name: str, **effect: Unpack[ToolEffect]) -> ToolDef:
    """A tool's declaration; its schema and its function come with each call.

    Raises:
        ToolInvalid: it is incomplete or contradicts itself.
    """
    if unknown := set(effect) - set(ToolEffect.__annotations__):
        raise ToolInvalid(f"the effect of {name} has {', '.join(sorted(unknown))}, which is nothing that can be said")
    kind = effect.get("effect", "write")
    if kind not in ("read", "write"):
        raise ToolInvalid(f"the tool {name} has the effect {kind!r}; there are 'read' and 'write'")
    reads = kind == "read"
    found = ToolDef(
        name=name,
        spec=ToolSpec(name, "", {}),
        call=_never,
        is_async=True,
        effect=kind,
        risk=effect.get("risk") or ("low" if reads else "medium"),
        permission=effect.get("permission") or ("auto" if reads else "confirm"),
        in_doubt=effect.get("in_doubt") or ("idempotent" if reads else "escalate"),
        timeout_seconds=effect.get("timeout_seconds", 30.0),
        digest="",
        read_args=_read_args,
        bind=dict,
        read_result=lambda value: value,
        validators=tuple(effect.get("validate", ())),
        confirm=effect.get("confirm"),
        context_param=CONTEXT,
        repeatable=effect.get("repeatable", False),
        attempts=effect.get("attempts", 1),
        retry_on=tuple(effect.get("retry_on", ())),
        hedge_after=effect.get("hedge_after"),
        needs_seconds=effect.get("needs_seconds", 0.0),
        key_seconds=effect.get("key_seconds"),
        approval_seconds=effect.get("approval_seconds"),
        labels=effect.get("labels", {}),
    )
    _check(found)
    said = [found.effect, found.risk, found.permission, found.in_doubt, found.timeout_seconds, found.attempts]
    known = replace(found, digest=digest([name, *said, found.hedge_after, found.repeatable, found.key_seconds]))
    kept = with_provenance(known, effect.get("returns", "trusted"), effect.get("reveals", ()), effect.get("grounded"))
    return with_secrets(kept, effect.get("secrets", ()))


def _check(tool: ToolDef) -> None:
    if tool.in_doubt not in _IN_DOUBT:
        raise ToolInvalid(f"the tool {tool.name} has in_doubt={tool.in_doubt!r}; there are {', '.join(_IN_DOUBT)}")
    if tool.in_doubt == "confirm" and tool.confirm is None:
        raise ToolInvalid(f"the tool {tool.name} is in_doubt='confirm' but has no look-up", hint="pass confirm=…")
    if not 0 < tool.timeout_seconds <= 86_400:
        raise ToolInvalid(f"the tool {tool.name} has a time-out of {tool.timeout_seconds!r} s; 0 < time-out <= 86400")
    if not 1 <= tool.attempts <= 10:
        raise ToolInvalid(f"the tool {tool.name} has {tool.attempts} attempts; there can be 1 to 10")
    if tool.hedge_after is not None and not (tool.effect == "read" and 0 < tool.hedge_after < tool.timeout_seconds):
        raise ToolInvalid(f"the tool {tool.name} cannot be hedged", hint="only reads, after less than their time-out")
    if not 0 <= tool.needs_seconds <= tool.timeout_seconds:
        raise ToolInvalid(f"the tool {tool.name} has needs_seconds={tool.needs_seconds!r}; 0 <= it <= timeout_seconds")


async def _never(**_: Any) -> Any:
    raise GateMisused("a declaration was called instead of a tool")


def _read_args(raw: str | bytes) -> dict[str, Any]:
    """Whoever holds the tool's own schema has checked them against it."""
    args = msgspec.json.decode(raw)
    if not isinstance(args, dict):
        raise ToolArgsInvalid("arguments are an object")
    return args
