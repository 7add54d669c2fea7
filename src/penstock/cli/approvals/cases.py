"""``penstock approvals cases | claim | hand-back | assign``."""

import dataclasses
from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened
from penstock.cli.options import Actor, AsJson, RunId, Tenant, actor_or_account
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import safe

SHOWN_MOST = 200


def cases(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """List runs that wait for people, and those that their agents gave up."""
    return execute(_cases(tenant, as_json))


async def _cases(tenant: str | None, as_json: bool) -> int:
    from penstock.runs.approving.cases import inbox
    from penstock.views.lines import clock_time

    async with opened(tenant) as platform:
        found = await inbox(platform.journal, platform.tenant, SHOWN_MOST)
        now = await platform.journal.questions.cases.now()
    if as_json:
        print_json(
            {"cases": [{**dataclasses.asdict(one.case), "agent": one.row.agent, "why": one.why} for one in found]}
        )
    elif not found:
        note("no case waits for anybody")
    else:
        rows = [
            (
                str(one.row.id),
                one.row.agent,
                "waits" if one.why == "question" else "escalated",
                one.case.held_by(now),
                one.case.assignee,
                clock_time(one.case.due) if one.case.due else "",
                "late" if one.case.due and one.case.due < now else "",
            )
            for one in found
        ]
        say(columns(("RUN", "AGENT", "WHY", "HELD BY", "ASSIGNED", "DUE", ""), rows, drop=("DUE", "AGENT")))
    return ExitCode.OK


def claim(
    run: RunId,
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, max=10080, help="For so long, at most.")] = 60,
    take_over: Annotated[bool, typer.Option("--take-over", help="Also from somebody who holds it.")] = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Take a case: nobody else decides what its run asks until you hand it back, or the time is over."""
    return execute(_claim(run, minutes, take_over, actor_or_account(actor), tenant, as_json))


async def _claim(run: str, minutes: float, take_over: bool, actor: str, tenant: str | None, as_json: bool) -> int:
    from penstock.ports.questions import Voter
    from penstock.runs.approving import cases
    from penstock.server.action_log import ActionLog
    from penstock.views.lines import clock_time

    async with opened(tenant) as platform:
        found = await find_run(platform.journal, platform.tenant, run)
        settings = platform.services.settings
        case = await cases.claim(
            platform.journal,
            platform.tenant,
            found,
            Voter(actor),
            minutes * 60,
            force=take_over,
            own=bool(settings.approvals_own) or settings.environment == "development",
        )
        log = ActionLog(platform.journal.actions)
        detail = {"forced": take_over, "seconds": minutes * 60}
        await log.record_as(platform.tenant, f"cli:{actor}", "case.claim", str(found), detail)
    if as_json:
        print_json(dataclasses.asdict(case))
    else:
        say(f"{found} is yours until {clock_time(case.until)}")
    return ExitCode.OK


def hand_back(
    run: RunId,
    words: Annotated[str, typer.Option("--note", help="What whoever comes next should know.", show_default=False)] = "",
    close: Annotated[bool, typer.Option("--close", help="Put a case aside whose run has ended.")] = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Let go of a case that you hold."""
    return execute(_hand_back(run, words, close, actor_or_account(actor), tenant, as_json))


async def _hand_back(run: str, words: str, close: bool, actor: str, tenant: str | None, as_json: bool) -> int:
    from penstock.runs.approving import cases
    from penstock.server.action_log import ActionLog

    async with opened(tenant) as platform:
        found = await find_run(platform.journal, platform.tenant, run)
        case = await cases.hand_back(platform.journal, platform.tenant, found, actor, words, close=close)
        log = ActionLog(platform.journal.actions)
        await log.record_as(platform.tenant, f"cli:{actor}", "case.hand_back", str(found), {"closed": close})
    if as_json:
        print_json(dataclasses.asdict(case))
    else:
        say(f"{found} is {'put aside' if close else 'handed back'}")
    return ExitCode.OK


def assign(
    run: RunId,
    to: Annotated[str, typer.Option("--to", metavar="ACTOR", help="Who is to look at it.", show_default=False)] = "",
    hours: Annotated[float, typer.Option("--within-hours", min=0, max=8760, help="Until when; 0 = no time.")] = 0,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Say who is to look at a case, and until when. It is no claim."""
    return execute(_assign(run, to, hours, actor_or_account(actor), tenant, as_json))


async def _assign(run: str, to: str, hours: float, actor: str, tenant: str | None, as_json: bool) -> int:
    from penstock.runs.approving import cases
    from penstock.server.action_log import ActionLog

    async with opened(tenant) as platform:
        found = await find_run(platform.journal, platform.tenant, run)
        now = await platform.journal.questions.cases.now()
        due = now + int(hours * 3.6e9) if hours else 0
        case = await cases.assign(platform.journal, platform.tenant, found, to, due, f"cli:{actor}")
        log = ActionLog(platform.journal.actions)
        await log.record_as(platform.tenant, f"cli:{actor}", "case.assign", str(found), {"to": to, "due": due})
    if as_json:
        print_json(dataclasses.asdict(case))
    else:
        say(f"{found} is assigned to {safe(to) or 'nobody'}")
    return ExitCode.OK
