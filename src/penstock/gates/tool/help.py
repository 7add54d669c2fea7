"""The agent asks a person what to do, and waits: a question like any other, answered with words."""

from typing import Any

import msgspec

from penstock.events import ApprovalDecided
from penstock.gates.order.tape import ANSWERED, NOT_APPROVED
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import first_ref
from penstock.gates.tool.approval import ask
from penstock.kernel.canonical import clean_text, stable_json, stored_digest
from penstock.ports.model import ToolSpec
from penstock.ports.tools import ToolDef

NAME = "escalate"
QUESTION_MAX_CHARS = 4000


class Help(msgspec.Struct, frozen=True):
    """What came of it. ``status``: answered | expired | withdrawn."""

    status: str
    words: str = ""


async def ask_person(ctx: RunContext, question: str, *, seconds: float = 0, call_id: str = "") -> Help:
    """A person's words in answer to a question; the run parks until they come.

    Args:
        seconds: how long there is to answer; 0 = the setting ``approval_expiry_seconds``.
        call_id: of the model's call that asks.
    """
    args = {"question": clean_text(question, QUESTION_MAX_CHARS)}
    call = ctx.enter("tool", NAME, stored_digest(stable_json(args)), shown=args)
    last = call.last
    if isinstance(last, ApprovalDecided) and last.decision in (ANSWERED, *NOT_APPROVED):
        words = await _words(ctx, last)
        await ctx.replay(call)
        return _help(last, words)
    await ctx.schedule.live(call.path)
    found: Help = await ctx.perform(call, _live(ctx, call, args, seconds, call_id))
    return found


async def _live(ctx: RunContext, call: Call, args: dict[str, str], seconds: float, call_id: str) -> Help:
    limit = seconds or ctx.services.settings.approval_expiry_seconds
    said: list[str] = []
    while True:
        decided = await ask(
            ctx, call, _TOOL, args, question="help", verdicts=[], call_id=call_id, seconds=limit, said=said
        )
        assert isinstance(decided, ApprovalDecided)
        if decided.decision == ANSWERED or decided.decision in NOT_APPROVED:
            return _help(decided, "".join(said))


async def _words(ctx: RunContext, decided: ApprovalDecided) -> str:
    ref = first_ref(decided, "answer")
    return (await ctx.load(ref)).decode() if ref else ""


def _help(decided: ApprovalDecided, words: str) -> Help:
    return Help("answered", words) if decided.decision == ANSWERED else Help(decided.decision)


async def _not_called() -> None:
    raise AssertionError("a question to a person is no call")


_SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
    "additionalProperties": False,
}
_TOOL = ToolDef(
    name=NAME,
    spec=ToolSpec(NAME, "Ask a person.", _SCHEMA),
    call=_not_called,
    is_async=True,
    effect="read",
    risk="low",
    permission="auto",
    in_doubt="idempotent",
    timeout_seconds=1.0,
    digest="",
    read_args=msgspec.json.Decoder(dict[str, Any]).decode,
    bind=dict,
    read_result=str,
)
