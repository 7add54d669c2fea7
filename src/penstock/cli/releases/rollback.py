"""``penstock releases rollback``."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import Actor, AsJson, Reason, actor_or_account
from penstock.cli.output import note, plain, print_json, say
from penstock.cli.releases.options import SHORT, AgentName, ForTenant, releases_of
from penstock.cli.text import plural, safe

if TYPE_CHECKING:
    from penstock.runs.rollouts.releasing import RolledBack

SHOWN = 20


class UnderWay(StrEnum):
    """What becomes of runs under way."""

    GO_ON = "go-on"
    PAUSE = "pause"
    KILL = "kill"


def rollback(  # noqa: PLR0917 - each parameter is an option of the command
    agent: AgentName,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The release to go back to, or `offered` for the code as it is; default: away from the canary, "
            "else to what was live before.",
            show_default=False,
        ),
    ] = None,
    sessions: Annotated[
        bool, typer.Option("--sessions", help="Take what sessions hold back to before it wrote to them.")
    ] = False,
    runs: Annotated[UnderWay, typer.Option(help="Runs of it that are under way.")] = UnderWay.GO_ON,
    reason: Reason = "",
    actor: Actor = None,
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """Take a release back, at once. A second after this returns no new run gets it, whoever submits it."""
    said = {"to": to, "sessions": sessions, "runs": runs.value, "reason": reason}
    return execute(_rollback(agent, said, actor_or_account(actor), tenant, as_json))


async def _rollback(agent: str, said: dict[str, Any], actor: str, tenant: str | None, as_json: bool) -> int:
    from penstock.runs.rollouts.rollback import roll_back

    async with releases_of(tenant) as (platform, releases):
        keep = platform.services.settings.document_versions_kept
        done = await roll_back(releases, platform.journal, platform.tenant, agent, actor, keep=keep, **said)
    if as_json:
        print_json(plain(_plain(done)))
    else:
        _say(done, said)
    return ExitCode.OK if all(stop.sealed for stop in done.stops) and not done.sessions.failed else ExitCode.FAILED


def _plain(done: "RolledBack") -> dict[str, Any]:
    stops = [{"sealed": stop.sealed, "at": stop.at, "open": len(stop.open_intents)} for stop in done.stops]
    return {"agent": done.agent, "bad": done.bad, "live": done.live, "stops": stops, "sessions": done.sessions}


def _say(done: "RolledBack", said: dict[str, Any]) -> None:
    bad = ", ".join(release[:SHORT] for release in done.bad)
    now = done.live[:SHORT] if done.live else "the code as it is offered"
    say(safe(f"{done.agent}: {bad} is rolled back; new runs get {now}"))
    if said["runs"] != UnderWay.GO_ON:
        sealed = sum(stop.sealed for stop in done.stops)
        word = "killed" if said["runs"] == UnderWay.KILL else "paused"
        note(f"its runs are {word}; {sealed} of {len(done.stops)} sealed; penstock resume --release lifts it")
    if said["sessions"]:
        back = done.sessions
        say(f"{plural(back.documents, 'document')} of sessions taken back, over {plural(back.versions, 'version')}")
        if back.others:
            say(f"{plural(back.others, 'version')} among them by other releases or people")
        for item in back.failed[:SHOWN]:
            note(safe(f"not taken back: {item.kind} {item.name}: {item.why}"))
        more = len(back.failed) + back.failed_more - SHOWN
        if more > 0:
            note(f"and {more:,} more")
