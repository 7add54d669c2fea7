"""``penstock runs waits``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import note, print_json, say
from penstock.cli.text import safe
from penstock.kernel.errors import InputInvalid

if TYPE_CHECKING:
    from uuid import UUID

    from penstock.ports.waits import Edge
    from penstock.views.wait_graph import Node, WaitGraph

LIMIT_MAX = 1000
_KINDS = {"run": "the end of", "child": "its child", "event": "an event of", "session": "behind, in its session,"}


def waits(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Only what is connected with this run.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help=f"Runs, and waits of each kind, at most {LIMIT_MAX}.")] = 200,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Draw who waits for whom, and runs that wait for each other."""
    if not 1 <= limit <= LIMIT_MAX:
        raise InputInvalid(f"--limit is {limit}", hint=f"give a number from 1 to {LIMIT_MAX}")
    return execute(_waits(run, limit, tenant, as_json))


async def _waits(run: str | None, limit: int, tenant: str | None, as_json: bool) -> int:
    from penstock.views.wait_graph import read_wait_graph

    async with opened_journal(tenant) as place:
        found = await find_run(place.journal, place.tenant, run) if run else None
        graph = await read_wait_graph(place.journal, place.tenant, run=found, limit=limit)
    if as_json:
        print_json(graph)
        return ExitCode.OK
    lines = draw(graph)
    if lines:
        say("\n".join(lines))
    else:
        note("nothing waits")
    if not graph.complete:
        note(f"there is more than --limit {limit} shows")
    return ExitCode.OK


def draw(graph: "WaitGraph") -> list[str]:
    """Circles first, then every run that nobody waits for, with all that it waits for below it."""
    from penstock.views.lines import clock_time

    lines = []
    for circle in graph.circles:
        names = [str(run) for run in circle.runs]
        end = f"until {clock_time(circle.ends_at)}" if circle.ends_at else "for ever"
        lines.append(f"circle, {end}: {' → '.join([*names, names[0]])}")
    after: dict[UUID, list[Edge]] = {}
    for edge in graph.edges:
        after.setdefault(edge.run, []).append(edge)
    awaited = {edge.target for edge in graph.edges}
    waiting = [run for run, node in graph.nodes.items() if run in after or node.waits or node.code]
    shown: set[UUID] = set()
    for run in [*(run for run in waiting if run not in awaited), *waiting]:
        if run not in shown:
            _below(graph, after, run, "", "", shown, lines)
    return lines


def _below(
    graph: "WaitGraph",
    after: "dict[UUID, list[Edge]]",
    run: "UUID",
    how: str,
    indent: str,
    shown: "set[UUID]",
    lines: list[str],
) -> None:
    from penstock.views.lines import clock_time, waiting_words

    node = graph.nodes[run]
    again = run in shown
    lines.append(f"{indent}{how}{_heading(node)}{'  (above)' if again else ''}")
    if again:
        return
    shown.add(run)
    lines += [f"{indent}  waits for {safe(waiting_words(wait))}" for wait in node.waits]
    for edge in after.get(run, []):
        until = f" until {clock_time(edge.until)}" if edge.until else ""
        name = f" {safe(edge.name)}" if edge.kind == "event" else ""
        _below(graph, after, edge.target, f"waits for {_KINDS[edge.kind]}{name}{until} ", f"{indent}  ", shown, lines)


def _heading(node: "Node") -> str:
    session = f", session {safe(node.session)}" if node.session else ""
    code = f" [{node.code}]" if node.code else ""
    return f"{node.run} {safe(node.agent)} ({node.status}{code}{session})"
