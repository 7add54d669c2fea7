"""``penstock approvals approve | deny | happened | did-not-happen``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, ApprovalId, AsJson, Reason, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.text import brief, safe

ARGS_WIDTH = 300

Digest = Annotated[
    str,
    typer.Option("--digest", help="What `show` said: refused if the call now has other arguments.", show_default=False),
]


def approve(
    approval: ApprovalId,
    reason: Reason = "",
    actor: Actor = None,
    digest: Digest = "",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Let a call go ahead, once, with exactly the arguments it was asked with."""
    return execute(_decide("approve", approval, reason, actor_or_account(actor), digest, tenant, as_json))


def deny(
    approval: ApprovalId,
    reason: Reason = "",
    actor: Actor = None,
    digest: Digest = "",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Refuse a call. The agent is told, and goes on without it."""
    return execute(_decide("deny", approval, reason, actor_or_account(actor), digest, tenant, as_json))


def happened(
    approval: ApprovalId, reason: Reason = "", actor: Actor = None, tenant: Tenant = None, as_json: AsJson = False
) -> int:
    """Settle a doubt: the call took effect. It is not made again."""
    return execute(_decide("happened", approval, reason, actor_or_account(actor), "", tenant, as_json))


def did_not_happen(
    approval: ApprovalId, reason: Reason = "", actor: Actor = None, tenant: Tenant = None, as_json: AsJson = False
) -> int:
    """Settle a doubt: the call had no effect. It is made again."""
    return execute(_decide("did_not_happen", approval, reason, actor_or_account(actor), "", tenant, as_json))


async def _decide(
    answer: str, approval: str, reason: str, actor: str, digest: str, tenant: str | None, as_json: bool
) -> int:
    from penstock.runs import approvals

    async with opened(tenant) as platform:
        journal = platform.journal
        found = await approvals.find(journal, platform.services.reader, platform.tenant, approval)
        bound = digest or found.digest
        await approvals.decide(journal, found, answer, actor=actor, reason=reason, digest=bound)
    if as_json:
        print_json({"approval": found.id, "run": found.run, "decision": answer, "actor": actor, "digest": bound})
    else:
        words = {"approve": "approved", "deny": "denied"}.get(answer, answer.replace("_", " "))
        say(f"{words}: {safe(found.tool)} {brief(found.args, ARGS_WIDTH)} of run {found.run}")
    return ExitCode.OK
