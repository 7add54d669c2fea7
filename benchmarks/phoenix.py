"""The same traces in Arize Phoenix and here: 20,000 spans of real runs; lists, one trace, one span, and the memory and
disk that each takes.

Both are asked what their pages ask, over one connection each, in turn. Phoenix is asked for fewer fields than its own
pages show, and is given each prompt's new messages only: both favour it. It runs on SQLite in its own process, as it
does for who starts it; here the server and PostgreSQL are counted both. Nobody else asks meanwhile.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.bench import Bench, clock
from benchmarks.figures import Figure, quantile
from benchmarks.phoenix_server import ENVIRONMENT, PYTHON, Phoenix, phoenix
from benchmarks.phoenix_spans import span_id, spans_of, trace_id
from benchmarks.serve import all_runs, family_pss_mib, family_resident_mib, work
from benchmarks.served import Asking, Served, asking, serving
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.views.trace import Trace, read_trace

GROUP = "Beside Arize Phoenix"
TENANT = "phoenix"
PROJECT = "bench"
RUNS, QUICK_RUNS = 2_000, 100
ASKED, QUICK_ASKED = 100, 20
WARM = 5
PATIENCE_SECONDS = 420.0
"""It takes some milliseconds of its processor to take a span in."""
PAGE = 50
SEND = Path(__file__).resolve().parent / "phoenix_send.py"

_PROJECTS = "{ projects { edges { node { id name recordCount traceCount } } } }"
_LIST = """
query ($project: ID!, $where: String) { node(id: $project) { ... on Project {
  spans(first: 50, sort: {col: startTime, dir: desc}, filterCondition: $where) {
    edges { node {
      id spanId name spanKind statusCode startTime latencyMs cumulativeTokenCountTotal
      input { value: truncatedValue } output { value: truncatedValue } trace { id traceId }
    } }
    pageInfo { hasNextPage endCursor }
  } } } }"""
_TRACE = """
query ($project: ID!, $trace: ID!) { node(id: $project) { ... on Project { trace(traceId: $trace) {
  latencyMs
  spans(first: 1000) { edges { node {
    id spanId parentId name spanKind statusCode startTime latencyMs tokenCountTotal
  } } }
} } } }"""
_SPAN = """
query ($span: ID!) { node(id: $span) { ... on Span {
  id name spanKind statusCode startTime latencyMs attributes input { value mimeType } output { value mimeType }
} } }"""


@dataclass(slots=True, frozen=True)
class Pair:
    """One question, asked on both sides; each returns what it was told."""

    name: str
    ours: Callable[[int], Any] | None
    theirs: Callable[[int], Any]
    note: str = ""


class _Theirs:
    """What Phoenix is asked."""

    def __init__(self, ask: Asking) -> None:
        self._ask = ask
        self.project = ""

    def query(self, text: str, **given: Any) -> Any:
        """The data of an answer.

        Raises:
            RuntimeError: it has errors.
        """
        said = self._ask.post("/graphql", {"query": text, "variables": given})
        if said.get("errors"):
            raise RuntimeError(f"Phoenix answered with {str(said['errors'])[:500]}")
        return said["data"]

    def spans(self) -> int:
        """How many of the project's spans it has stored."""
        for edge in self.query(_PROJECTS)["projects"]["edges"]:
            if edge["node"]["name"] == PROJECT:
                self.project = edge["node"]["id"]
                return int(edge["node"]["recordCount"])
        return 0

    def newest(self, where: str = "") -> list[Any]:
        """The newest traces that fit, by their first spans, as its own page asks for them."""
        where = f"parent_span is None and {where}" if where else "parent_span is None"
        edges: list[Any] = self.query(_LIST, project=self.project, where=where)["node"]["spans"]["edges"]
        return edges

    def trace(self, trace: str) -> list[Any]:
        """The spans of one trace."""
        found = self.query(_TRACE, project=self.project, trace=trace)["node"]["trace"]
        return [edge["node"] for edge in found["spans"]["edges"]]

    def span(self, node: str) -> Any:
        """One span with its content."""
        return self.query(_SPAN, span=node)["node"]


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        Unavailable: Phoenix cannot be installed or started here.
        RuntimeError: one of the two does not have all spans.
    """
    runs = QUICK_RUNS if bench.quick else RUNS
    async with phoenix(bench) as peer, serving(bench, TENANT, "benchmarks.desk") as served:
        ask = asking(served)
        before = sum((await bench.server.reading()).sizes.values())
        bench.say(f"making {runs:,} runs")
        await work(ask, runs)
        stored = sum((await bench.server.reading()).sizes.values()) - before
        bench.say("reading them")
        traces = await _traces(bench, ask)
        bench.say("sending them to Phoenix")
        theirs = _Theirs(Asking(peer.url))
        spans, seconds = await _send(bench, peer, theirs, traces)
        pairs = _pairs(ask, theirs, traces)
        figures = [figure for pair in pairs for figure in _compare(bench, pair)]
        figures += _sizes(bench, peer, served, stored, spans)
    note = f"{spans:,} spans over OTLP/HTTP until all can be listed; here they are stored while the run goes on"
    return [*figures, Figure(GROUP, "Phoenix: taking the spans in", seconds, "s", note=note)]


async def _traces(bench: Bench, ask: Asking) -> list[Trace]:
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    try:
        return [await read_trace(journal, TENANT, UUID(run["id"]), children=False) for run in all_runs(ask)]
    finally:
        await journal.close()


async def _send(bench: Bench, peer: Phoenix, theirs: _Theirs, traces: Sequence[Trace]) -> tuple[int, float]:
    """How many spans, and the seconds until Phoenix has them all."""
    path = bench.folder / "spans.jsonl"
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for trace in reversed(traces):
            for span in spans_of(trace):
                file.write(json.dumps(span) + "\n")
                count += 1
    begun = clock()
    sender = await asyncio.create_subprocess_exec(PYTHON, str(SEND), str(path), peer.url, PROJECT)
    if await sender.wait() != 0:
        raise RuntimeError("the spans could not be sent to Phoenix")
    while (stored := theirs.spans()) < count:
        if clock() - begun > PATIENCE_SECONDS:
            raise RuntimeError(f"Phoenix has {stored:,} of {count:,} spans after {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(0.2)
    return count, clock() - begun


def _pairs(ask: Asking, theirs: _Theirs, traces: Sequence[Trace]) -> list[Pair]:
    def one(number: int) -> Trace:
        return traces[number * 7 % len(traces)]

    def our_trace(number: int) -> Any:
        run = one(number).run
        ask.get(f"/v1/runs/{run}")
        return [*ask.get(f"/v1/runs/{run}/trace")["spans"]["path"], "run"]

    def customer(number: int) -> str:
        return one(number).tags["customer"]

    def our_span(number: int) -> Any:
        trace = one(number)
        return ask.get(f"/v1/runs/{trace.run}/spans/{trace.spans[4].path}")

    nodes = {}
    for number in range(WARM + ASKED):
        trace = one(number)
        wanted = span_id(trace, trace.spans[4].path)
        nodes[number] = next(node["id"] for node in theirs.trace(trace_id(trace)) if node["spanId"] == wanted)
    same = "the newest 50 on both sides"
    return [
        Pair("list", lambda _: ask.get(f"/v1/runs?limit={PAGE}")["items"], lambda _: theirs.newest(), same),
        Pair(
            "list of one customer's",
            lambda n: ask.get(f"/v1/runs?limit={PAGE}&customer={customer(n)}")["items"],
            lambda n: theirs.newest(f"metadata['customer'] == '{customer(n)}'"),
            "a tag here, in the span's metadata there",
        ),
        Pair(
            "text search",
            None,
            lambda n: theirs.newest(f"'[{n * 7 % len(traces)}]' in input.value"),
            "in inputs; here contents are not searched at all, so there is nothing to compare",
        ),
        Pair("open one trace", our_trace, lambda n: theirs.trace(trace_id(one(n))), "two requests here, one there"),
        Pair("open one span", our_span, lambda n: theirs.span(nodes[n]), "of a model call, with its content"),
    ]


def _compare(bench: Bench, pair: Pair) -> list[Figure]:
    bench.say(pair.name)
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(WARM + (QUICK_ASKED if bench.quick else ASKED)):
        # In turn, so that what else happens on the machine happens to both.
        told = _timed(pair.theirs, number, theirs)
        if pair.ours is not None:
            here = _timed(pair.ours, number, ours)
            if isinstance(here, list) and len(here) != len(told):
                raise RuntimeError(f"{pair.name}: {len(here)} here, {len(told)} in Phoenix")
        elif not told:
            raise RuntimeError(f"{pair.name}: nothing was found in Phoenix")
    theirs, ours = theirs[WARM:], ours[WARM:]
    note = f"P50; P95 {quantile(theirs, 0.95):.1f} ms; {pair.note}"
    figures = [Figure(GROUP, f"{pair.name}: Phoenix", quantile(theirs, 0.5), "ms", note=note)]
    if ours:
        figures.append(
            Figure(
                GROUP, f"{pair.name}: here", quantile(ours, 0.5), "ms", note=f"P50; P95 {quantile(ours, 0.95):.1f} ms"
            )
        )
        ratio = quantile(theirs, 0.5) / quantile(ours, 0.5)
        figures.append(Figure(GROUP, f"{pair.name}: **ratio**", ratio, "times", note="Phoenix's P50, divided by ours"))
    return figures


def _timed(ask: Callable[[int], Any], number: int, samples: list[float]) -> Any:
    begun = time.perf_counter()
    said = ask(number)
    samples.append((time.perf_counter() - begun) * 1000)
    return said


def _sizes(bench: Bench, peer: Phoenix, served: Served, stored: int, spans: int) -> list[Figure]:
    theirs, ours = peer.resident_mib(), family_resident_mib(served.process)
    database = family_pss_mib(bench.server.postmaster)
    note = f"resident, after all this; {ENVIRONMENT.version()}, SQLite in the same process"
    alike = f"with a worker, after having worked on the runs; PostgreSQL beside it {database:.0f} MiB (PSS)"
    bytes_note = "with indexes; here each event, its hash, payloads and queue; there the spans"
    return [
        Figure(GROUP, "memory: Phoenix", theirs, "MiB", note=note),
        Figure(GROUP, "memory: here", ours, "MiB", "250 MiB", alike),
        Figure(GROUP, "stored: Phoenix", peer.stored_bytes() / spans, "bytes a span", note=bytes_note),
        Figure(GROUP, "stored: here", stored / spans, "bytes a span"),
    ]
