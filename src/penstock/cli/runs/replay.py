"""``penstock runs replay``."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.loading import load_agents
from penstock.cli.opening import execute, find_run, opened_to_replay
from penstock.cli.options import ArchiveFile, AsJson, RunId, Tenant
from penstock.cli.output import note, print_json, say
from penstock.cli.text import brief, plural, safe
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.agents.definition import Definition
    from penstock.runs.divergence import DivergenceReport
    from penstock.runs.replaying.replay import Replayed
    from penstock.views.trace import Trace

SIDE_WIDTH = 400
DIFFERENCES_SHOWN = 20


def replay(
    run: RunId,
    app: Annotated[str, typer.Option(metavar="MODULE[:ATTR]", help="Where the agent's code is.", show_default=False)],
    step: Annotated[bool, typer.Option("--step", help="Stop after each call, on a terminal.")] = False,
    archive: ArchiveFile = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Run the agent's code against the record: no call is made, nothing is written.

    It must reach the recorded events. If it does not, the first difference is shown side by side. A snapshot of the run
    must be the state that the code comes to.
    """
    if step and as_json:
        raise UsageError("--step and --json exclude each other")
    return execute(_replay(run, load_agents(app), step, archive, tenant, as_json))


async def _replay(
    run: str, agents: "list[Definition]", step: bool, archive: Path | None, tenant: str | None, as_json: bool
) -> int:
    from penstock.runs.replaying.replay import replay as replay_run
    from penstock.runs.replaying.state_check import check_state
    from penstock.views.trace import read_trace

    async with opened_to_replay(archive, tenant) as platform:
        found = await find_run(platform.journal, platform.tenant, run)
        row = await platform.journal.get_run(platform.tenant, found)
        assert row is not None
        on_call: Callable[[str], None] = lambda path: None  # noqa: E731
        if step:
            on_call = _Stepper(await read_trace(platform.journal, platform.tenant, found, children=False))
        done = await replay_run(platform.services, row, agents, on_call=on_call)
        if done.same:
            await check_state(platform.services, row, agents)
    if as_json:
        print_json(done)
    else:
        _print(done)
    return ExitCode.OK if done.same else ExitCode.FAILED


class _Stepper:
    """Draws each call when its recorded outcome reaches the code; on a terminal waits for Enter."""

    def __init__(self, trace: "Trace") -> None:
        from penstock.views.trace import walk

        self._spans = {span.path: span for span in walk(trace.spans)}
        self._asks = sys.stdin.isatty() and sys.stdout.isatty()

    def __call__(self, path: str) -> None:
        from penstock.cli.drawing import console, draw_span

        span = self._spans.get(path)
        if span is not None:
            console().print(draw_span(span, full=True))
        if self._asks:
            # Nothing else goes on in this process, so that waiting here holds nobody up.
            answer = input("Enter: next call, q: to the end ")
            self._asks = not answer.lower().startswith("q")


def _print(done: "Replayed") -> None:
    if done.recorded_release != done.release:
        note(f"the run was made by release {done.recorded_release}; this code is release {done.release}")
    if done.divergence is not None:
        print_divergence(done.divergence)
        return
    say(f"same: {plural(len(done.calls), 'call')} given back, {plural(done.events, 'event')}, nothing was called")
    if done.outcome and not done.goes_on_with:
        say(f"the code ends as recorded: {done.outcome}")
    elif done.outcome:
        say(
            f"the run was ended from outside ({done.outcome}); "
            f"its code would go on at call {', '.join(done.goes_on_with)}"
        )
    else:
        say(f"the run has not ended; it goes on at call {', '.join(done.goes_on_with) or '-'}")


def print_divergence(report: "DivergenceReport") -> None:
    """Show the first difference, both sides."""
    say(f"diverged: {safe(report.words)}")
    say(f"  recorded   {safe(report.recorded)}{_args(report.recorded_args)}")
    say(f"  attempted  {safe(report.attempted)}{_args(report.attempted_args)}")
    for difference in report.differences[:DIFFERENCES_SHOWN]:
        say(f"  at {safe(difference.place)}")
        say(f"    - {brief(difference.recorded, SIDE_WIDTH)}")
        say(f"    + {brief(difference.attempted, SIDE_WIDTH)}")
    if len(report.differences) > DIFFERENCES_SHOWN:
        say(f"  and {len(report.differences) - DIFFERENCES_SHOWN} more differences (--json shows them)")
    note(f"  hint: {safe(report.hint)}")


def _args(args: object) -> str:
    return "" if args is None else f"  {brief(args, SIDE_WIDTH)}"
