"""Calls that a person let go ahead with other arguments: what they are judged by, and made with, from then on."""

from typing import TYPE_CHECKING, Any

import msgspec

from penstock.events import ApprovalEdited, ApprovalTerms
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import first_ref
from penstock.kernel.canonical import check_plain, clean_text, stable_json
from penstock.kernel.errors import InputInvalid
from penstock.ports.tools import ToolArgsInvalid, ToolDef
from penstock.rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from penstock.gates.tool.attempt import Asked


async def take_edit(ctx: RunContext, call: Call, asked: "Asked", said: str = "") -> None:
    """The call as a person left it: read anew by its schema, so that what does not fit is refused like the model's.

    ``said``: the edited arguments as JSON, when they are only being written; '' = the tape has them.
    """
    edit = call.last_of(ApprovalEdited)
    if edit is None or asked.tool is None:
        return
    data = said.encode() or await ctx.load(first_ref(edit, "args"))
    args = msgspec.json.decode(data)
    asked.args, asked.problem = read_edited(asked.tool, args)
    asked.data = stable_json(asked.args)
    asked.note = _note(data)


def read_edited(tool: ToolDef, args: Any) -> tuple[dict[str, Any], Decision | None]:
    """Edited arguments as the tool takes them, or as they are with why it does not."""
    try:
        check_plain(args, "arguments")
        read = tool.read_args(msgspec.json.encode(args))
        check_plain(read, "arguments")
    except (ToolArgsInvalid, InputInvalid, ValueError, RecursionError) as error:
        words = clean_text(error.what if isinstance(error, InputInvalid) else error, 400)
        return args, Decision(Verdict.DENY, f"edited arguments not accepted: {words}", "arguments_invalid")
    return read, None


def covers(edit: ApprovalEdited, terms: ApprovalTerms | None) -> bool:
    """Whether who edited a call may allow what it is now: alone, and with the roles that it needs."""
    if terms is None:
        return True
    return terms.count <= 1 and (not terms.roles or bool(set(terms.roles) & set(edit.roles)))


async def edited_note(ctx: RunContext, call: Call) -> str:
    """What the agent is told of an edit; '' when there was none. The same live and in replay."""
    edit = call.last_of(ApprovalEdited)
    if edit is None:
        return ""
    return _note(await ctx.load(first_ref(edit, "args")))


def _note(args: bytes) -> str:
    return f"A person changed the arguments of this call before they allowed it; it was made with {args.decode()}."
