"""``penstock approvals show``."""

from typing import TYPE_CHECKING

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import ApprovalId, AsJson, Tenant
from penstock.cli.output import plain, print_json, say
from penstock.cli.text import safe, whole

if TYPE_CHECKING:
    from penstock.events import Preview


def show(approval: ApprovalId, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Show one question with its exact arguments and the rules that asked it."""
    return execute(_show(approval, tenant, as_json))


async def _show(approval: str, tenant: str | None, as_json: bool) -> int:
    from penstock.runs.approvals import ANSWERS, find, read_preview
    from penstock.views.lines import QUESTIONS, clock_time, verdict_words

    async with opened(tenant) as platform:
        found = await find(platform.journal, platform.services.reader, platform.tenant, approval)
        preview = await read_preview(platform.journal, found)
    if as_json:
        print_json({**plain(found), "preview": preview})
        return ExitCode.OK
    question = QUESTIONS.get(found.question, found.question)
    say(f"approval {found.id}")
    say(f"  question   {question}")
    say(f"  call       {safe(found.tool)} ({found.risk} risk) at {found.path} of run {found.run}")
    say(f"  agent      {safe(found.agent)}")
    say(f"  asked      {clock_time(found.asked_at)}, expires {clock_time(found.expires) if found.expires else 'never'}")
    for verdict in found.verdicts:
        say(f"  because    {safe(verdict_words(verdict))}")
    if found.again:
        say(f"  again      what was delivered before is no decision: {safe(found.again)}")
    if (terms := found.terms) is not None:
        roles = f" who {'is' if terms.count == 1 else 'are'} {' or '.join(terms.roles)}" if terms.roles else ""
        say(f"  needs      {terms.count} {'person' if terms.count == 1 else 'different people'}{safe(roles)}")
    for vote in found.votes:
        behalf = f" for {vote.voter.behalf}" if vote.voter.behalf else ""
        say(f"  allowed    by {safe(vote.voter.actor + behalf)} at {clock_time(vote.at)}")
    say(f"  digest     {found.digest}")
    say("  arguments  " + whole(found.args).replace("\n", "\n             "))
    if preview is not None:
        say("  changes    " + "\n             ".join(_changes(preview)))
    ways = [answer.replace("_", "-") for answer in ANSWERS[found.question] if answer != "edit"]
    say("  answer     " + "\n             ".join(f"penstock approvals {way} {found.id}" for way in ways))
    return ExitCode.OK


def _changes(preview: "Preview") -> list[str]:
    """What the tool said when the question was asked, a line each."""
    if preview.unknown:
        return [f"unknown: {safe(preview.unknown)}"]
    lines = [f"{safe(one.what)}: {safe(one.before)} -> {safe(one.after)}" for one in preview.changes]
    return lines or ["nothing, says the tool"]
