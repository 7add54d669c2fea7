"""``penstock approvals approve | deny | edit | answer | happened | did-not-happen``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, ApprovalId, AsJson, Reason, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.text import brief, safe

if TYPE_CHECKING:
    from penstock.runs.approving.deciding import Taken

ARGS_WIDTH = 300

Digest = Annotated[
    str,
    typer.Option("--digest", help="What `show` said: refused if the call now has other arguments.", show_default=False),
]
For = Annotated[
    str,
    typer.Option("--for", metavar="ACTOR", help="Decide by the right that they handed to you.", show_default=False),
]


def approve(
    approval: ApprovalId,
    reason: Reason = "",
    actor: Actor = None,
    behalf: For = "",
    digest: Digest = "",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Let a call go ahead, once, with exactly the arguments it was asked with."""
    return execute(_decide("approve", approval, reason, actor_or_account(actor), digest, tenant, as_json, behalf))


def deny(
    approval: ApprovalId,
    reason: Reason = "",
    actor: Actor = None,
    behalf: For = "",
    digest: Digest = "",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Refuse a call. The agent is told, and goes on without it."""
    return execute(_decide("deny", approval, reason, actor_or_account(actor), digest, tenant, as_json, behalf))


def edit(  # noqa: PLR0917 - each parameter is an option of the command
    approval: ApprovalId,
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="All arguments to call it with, as JSON.")],
    reason: Reason = "",
    actor: Actor = None,
    behalf: For = "",
    digest: Digest = "",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Let a call go ahead with other arguments. The rules judge it anew, and the agent is told."""
    who = actor_or_account(actor)
    return execute(_decide("edit", approval, reason, who, digest, tenant, as_json, behalf, _read_args(args)))


def answer(
    approval: ApprovalId,
    words: Annotated[str, typer.Argument(metavar="WORDS", help="What to tell the agent.")],
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Answer an agent that asks a person what to do."""
    return execute(_decide("answer", approval, words, actor_or_account(actor), "", tenant, as_json))


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


def _read_args(text: str) -> dict[str, Any]:
    import msgspec

    from penstock.kernel.errors import AnswerInvalid

    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise AnswerInvalid(f"--args is no JSON object: {error}", hint="""--args '{"amount_cents": 900}'""") from None


async def _decide(  # noqa: PLR0917 - each parameter is an option of the command
    answer: str,
    approval: str,
    reason: str,
    actor: str,
    digest: str,
    tenant: str | None,
    as_json: bool,
    behalf: str = "",
    args: dict[str, Any] | None = None,
) -> int:
    from penstock.ports.questions import Voter
    from penstock.runs.approvals import find
    from penstock.runs.approving import deciding, delegating

    async with opened(tenant) as platform:
        journal = platform.journal
        found = await find(journal, platform.services.reader, platform.tenant, approval)
        bound = digest or found.digest
        voter = Voter(actor)
        if behalf:
            voter = await delegating.on_behalf(journal, platform.tenant, voter, behalf)
        own = deciding.may_decide_own(platform.services.settings, found)
        keys = platform.services.decisions
        taken = await deciding.decide(
            journal, found, answer, voter, reason=reason, digest=bound, args=args, own=own, keys=keys
        )
    if as_json:
        said = {"approval": found.id, "run": found.run, "decision": answer, "actor": actor, "digest": bound}
        print_json({**said, "counts": taken.counts, "missing": taken.missing})
    else:
        shown = args if args is not None else found.args
        say(f"{words_of(answer, taken)}: {safe(found.tool)} {brief(shown, ARGS_WIDTH)} of run {found.run}")
    return ExitCode.OK


def words_of(answer: str, taken: "Taken | None") -> str:
    """A decision in a word or two."""
    if taken is not None and not taken.counts:
        return f"allowed, {taken.missing} more needed"
    words = {"approve": "approved", "deny": "denied", "edit": "approved with other arguments", "answer": "answered"}
    return words.get(answer, answer.replace("_", " "))
