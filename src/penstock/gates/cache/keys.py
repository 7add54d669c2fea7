"""What a cached answer is found by: everything that the answer may depend on, under the tenant's own secret."""

import hmac
from typing import TYPE_CHECKING, Any

from penstock.ports.cache import Gate, Scope
from penstock.rules.verdict import RuleSet

if TYPE_CHECKING:
    from penstock.gates.run.context import RunContext

VERSION = 1
"""Of what keys are made of: a change makes all entries unreachable."""


def scope_name(ctx: "RunContext", scope: Scope) -> str | None:
    """The name of the run's own scope of that kind; None when it has none, and then nothing may be shared."""
    submitted = ctx.tape.submitted
    match scope:
        case "run":
            return ctx.run_id.hex
        case "subject":
            return submitted.subject or None
        case "customer":
            return submitted.tags.get("customer") or None
        case "agent":
            return ctx.claim.agent
        case "tenant":
            return ""


def policy(ctx: "RunContext", gate: Gate, scope: Scope, name: str, rules: RuleSet) -> list[Any]:
    """Who shares an answer, and what let the call through: the beginning of every canonical request, plain JSON."""
    # Agents of a tenant share only what does not depend on which of them asks.
    by_agent = ["", ""] if scope == "tenant" else [ctx.claim.agent, ctx.claim.release]
    filters = ctx.facts.filters
    # Tokens mean something in one subject's runs alone.
    filtered = [] if filters is None else [filters.part, ctx.claim.subject if filters.tokenises else ""]
    return [VERSION, gate, ctx.facts.environment, scope, name, *by_agent, rules.labels, *filtered]


def keyed(secret: bytes, request: bytes) -> bytes:
    """The key of a canonical request, 32 bytes."""
    return hmac.digest(secret, request, "sha256")


def sealed(secret: bytes, key: bytes, data: bytes) -> bytes:
    """What binds an answer to its key, 32 bytes: an answer that somebody changed, or moved, is not served."""
    return hmac.digest(secret, b"answer\n" + key + data, "sha256")
