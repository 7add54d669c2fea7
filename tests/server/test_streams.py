"""Streams: a real server, real readers: what they hear, what they miss, where they go on."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx2 as httpx
import pytest
import uvicorn
from tests.server.conftest import Api, served
from tests.server.desk import echo, waiter

from penstock import Agent, Run
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.journal import Journal
from penstock.ports.model import ModelRequest
from penstock.server.stream.filters import Filters
from penstock.testing import ScriptedModel

LONG = 20.0


@dataclass
class Told:
    """One event of a stream."""

    event: str
    data: Any
    id: str = ""


@dataclass
class Reader:
    """Reads a stream as a browser would."""

    lines: AsyncIterator[str]
    told: list[Told] = field(default_factory=list)

    async def next(self) -> Told | None:
        """The next event; None at the end."""
        fields: dict[str, str] = {}
        async for line in self.lines:
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                self.told.append(Told(fields["event"], json.loads(fields["data"]), fields.get("id", "")))
                return self.told[-1]
            else:
                fields = {}
        return None

    async def until(self, event: str, **fields: Any) -> Told:
        """The next event of that kind whose data hold these."""
        async with asyncio.timeout(LONG):
            while (told := await self.next()) is not None:
                if told.event == event and all(told.data.get(name) == value for name, value in fields.items()):
                    return told
        raise AssertionError(f"the stream ended without {event} {fields}: {[one.event for one in self.told]}")

    async def rest(self) -> list[Told]:
        """Everything to the end."""
        async with asyncio.timeout(LONG):
            while await self.next() is not None:
                pass
        return self.told


class Live(Api):
    """The application behind a real socket."""

    url = ""
    http: httpx.AsyncClient

    @contextlib.asynccontextmanager
    async def reading(self, path: str, key: str = "operator", **headers: str) -> AsyncIterator[Reader]:
        bearer = {"Authorization": f"Bearer {self.keys.get(key, key)}", **headers}
        async with self.http.stream("GET", path, headers=bearer) as answer:
            assert answer.status_code == 200, (await answer.aread()).decode()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield Reader(answer.aiter_lines())


@contextlib.asynccontextmanager
async def listening(journal: Journal, **settings: Any) -> AsyncIterator[Live]:
    """The application of `served`, on a port."""
    async with served(journal, **settings) as api:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            free.listen(100)
            config = uvicorn.Config(api.app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[free]))
            live = Live(api.app, api.platform, api.log)
            live.keys, live.ids = api.keys, api.ids
            live.url = f"http://127.0.0.1:{free.getsockname()[1]}"
            try:
                async with httpx.AsyncClient(
                    base_url=live.url, timeout=LONG, limits=httpx.Limits(max_connections=None)
                ) as live.http:
                    yield live
            finally:
                server.should_exit = True
                await serving


@pytest.fixture(params=["memory", "postgres"])
async def live(request: pytest.FixtureRequest, journal_dsn: str) -> AsyncIterator[Live]:
    dsn = ConnectionSettings(journal_dsn)
    journal: Journal = MemoryJournal() if request.param == "memory" else await open_journal(dsn)
    async with listening(journal) as live:
        yield live


class Speaking(ScriptedModel):
    """Counts how often it is heard while it speaks."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(answers, "scripted:speaking", repeat=True)
        self.streamed = 0

    async def stream(self, request: ModelRequest) -> Any:
        self.streamed += 1
        async for piece in super().stream(request):
            yield piece


async def test_a_reader_hears_every_event_once_in_order_and_the_end(live: Live) -> None:
    run = await live.platform.submit(echo, "hello")
    async with live.reading(f"/v1/runs/{run}/stream") as reader:
        told = await reader.rest()
    events = [one for one in told if one.event == "event"]
    assert [one.data["seq"] for one in events] == list(range(1, len(events) + 1))
    assert [one.data["kind"] for one in events][:: len(events) - 1] == ["run.submitted", "run.ended"]
    assert events[-1].id == f"{run}:{len(events)}"
    assert [one.data["kind"] for one in told if one.event == "answer"] == ["final"]
    status = [one.data for one in told if one.event == "status"]
    assert status[-1]["outcome"] == "succeeded"
    assert told[-1].event == "end"


async def test_a_reader_that_comes_again_goes_on_where_it_was(live: Live) -> None:
    run = await live.platform.submit(waiter, "x")
    async with live.reading(f"/v1/runs/{run}/stream") as reader:
        parked = await reader.until("event", kind="run.parked")
    await live.platform.send_event(run, "go", 1)
    await live.platform.result(run, timeout_seconds=LONG)
    async with live.reading(f"/v1/runs/{run}/stream", **{"Last-Event-ID": parked.id}) as reader:
        told = [one.data["seq"] for one in await reader.rest() if one.event == "event"]
    row = await live.journal.get_run("default", run)
    assert row is not None
    assert told == list(range(parked.data["seq"] + 1, row.last_seq + 1))


async def test_words_are_heard_while_the_model_speaks_by_those_who_may(live: Live) -> None:
    async def after_all_are_there(run: Run, value: str) -> str:
        await run.wait_event("go")
        return value

    words = "You will have your money back on Friday, all of it."
    model = Speaking(words)
    talker = Agent("talker", model=model, instructions="Talk.", prepare=after_all_are_there)
    run = await live.platform.submit(talker, "When?")
    async with (
        live.reading(f"/v1/runs/{run}/stream") as reader,
        live.reading(f"/v1/runs/{run}/stream", "viewer") as other,
    ):
        await reader.until("event", kind="run.parked")
        await other.until("event", kind="run.parked")
        await live.platform.send_event(run, "go")
        heard = [one for one in await reader.rest() if one.event == "tokens"]
        unheard = [one for one in await other.rest() if one.event == "tokens"]
    assert "".join(one.data["text"] for one in heard) == words
    assert heard[0].data["offset"] == 0
    assert unheard == []
    assert len(model.calls) == model.streamed == 1


async def test_a_model_that_nobody_looks_at_is_not_streamed(live: Live) -> None:
    model = Speaking("Done.")
    talker = Agent("talker", model=model, instructions="Talk.")
    assert (await live.platform.run(talker, "x")).output == "Done."
    assert model.streamed == 0


async def test_a_hundred_readers_cost_one_read() -> None:
    journal = MemoryJournal()
    reads = 0
    tape = journal.tape

    async def counted(*args: Any, **fields: Any) -> Any:
        nonlocal reads
        reads += 1
        return await tape(*args, **fields)

    async with listening(journal) as live, contextlib.AsyncExitStack() as stack:
        run = await live.platform.submit(waiter, "x")
        readers = [await stack.enter_async_context(live.reading(f"/v1/runs/{run}/stream")) for _ in range(100)]
        await asyncio.gather(*(reader.until("event", kind="run.parked") for reader in readers))
        journal.tape = counted  # type: ignore[method-assign]
        await live.platform.send_event(run, "go", 1)
        told = await asyncio.gather(*(reader.rest() for reader in readers))
        events = {json.dumps([one.data for one in each if one.event == "event"]) for each in told}
        assert len(events) == 1
        assert live.server.hub.viewers == 0
    assert 0 < reads < 20, reads


async def test_a_reader_that_takes_nothing_is_closed_and_the_run_never_waits_for_it() -> None:
    async with listening(MemoryJournal(), stream_write_seconds=0.3) as live:
        run = await live.platform.submit(waiter, "x" * 200_000)
        host, port = live.url.removeprefix("http://").split(":")
        stuck_reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        key = live.keys["operator"]
        writer.write(
            f"GET /v1/stream?topics=run:{run} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        await writer.drain()
        async with asyncio.timeout(LONG):
            while not live.server.hub.viewers:
                await asyncio.sleep(0.01)
        stuck_reader._transport.pause_reading()  # type: ignore[attr-defined]
        flood = [live.platform.send_event(run, f"other-{number}", "y" * 4_000) for number in range(400)]
        await asyncio.gather(*flood)
        await live.platform.send_event(run, "go", 1)
        await live.platform.result(run, timeout_seconds=LONG)
        writer.transport.abort()
        async with asyncio.timeout(LONG):
            while live.server.hub.viewers:
                await asyncio.sleep(0.05)


async def test_a_revoked_key_ends_its_streams(live: Live) -> None:
    key = await live.make_key("operator", name="for-a-while")
    run = await live.platform.submit(waiter, "x")
    async with live.reading(f"/v1/stream?topics=run:{run},approvals", key) as reader:
        await reader.until("event", kind="run.parked")
        await live.journal.access.revoke_key("default", live.ids[key])
        await reader.rest()
    assert {"event", "approvals", "status"} <= {one.event for one in reader.told}


async def test_a_revoked_key_ends_also_a_stream_that_is_never_quiet(live: Live) -> None:
    key = await live.make_key("operator", name="for-a-while")

    async def submit() -> None:
        while True:
            await live.platform.submit(waiter, "x")
            await asyncio.sleep(0.2)

    submitting = asyncio.create_task(submit())
    try:
        async with live.reading("/v1/stream?topics=runs", key) as reader:
            await reader.until("runs")
            await live.journal.access.revoke_key("default", live.ids[key])
            await reader.rest()
    finally:
        submitting.cancel()
        await asyncio.gather(submitting, return_exceptions=True)


async def test_the_topic_of_runs_tells_all_once_and_then_what_changed(live: Live) -> None:
    still = await live.platform.submit(waiter, "x")
    async with live.reading("/v1/stream?topics=runs") as reader:
        first = await reader.until("runs")
        assert [line["id"] for line in first.data["changed"]] == [str(still)]
        while first.data["changed"][0]["shown"] != "waiting":
            first = await reader.until("runs")
        fresh = await live.platform.submit(echo, "x")
        told: list[dict[str, Any]] = []
        while not told or told[-1]["shown"] != "succeeded":
            told += (await reader.until("runs")).data["changed"]
        assert {line["id"] for line in told} == {str(fresh)}, "a run that did not change is not told again"
    async with live.reading("/v1/stream?topics=runs") as late:
        lines = (await late.until("runs")).data["changed"]
        assert [line["id"] for line in lines] == [str(fresh), str(still)], (
            "whoever comes later is told all, newest first"
        )
        assert (await live.get(f"/v1/runs?q={fresh}")).json()["items"] == lines[:1]


async def test_streams_of_others_and_of_nothing(live: Live) -> None:
    run = await live.platform.submit(echo, "x")
    for path in (f"/v1/runs/{run}/stream", f"/v1/stream?topics=run:{run}"):
        answer = await live.get(path, "stranger")
        assert (answer.status_code, answer.json()["code"]) == (404, "run_unknown")
    nobody = UUID(int=7)
    assert (await live.get(f"/v1/runs/{nobody}/stream")).json()["code"] == "run_unknown"
    for topics in ("", "weather", "run:x", ",".join(f"run:{UUID(int=n)}" for n in range(21))):
        answer = await live.get(f"/v1/stream?topics={topics}")
        assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid"), topics
    answer = await live.ask("GET", f"/v1/runs/{run}/stream", headers={"Last-Event-ID": "nonsense"})
    assert answer.json()["code"] == "request_invalid"


async def test_streams_are_bounded() -> None:
    async with listening(MemoryJournal(), stream_viewers_max=1) as live:
        run = await live.platform.submit(waiter, "x")
        async with live.reading(f"/v1/runs/{run}/stream") as reader:
            await reader.until("event", kind="run.parked")
            answer = await live.get(f"/v1/runs/{run}/stream")
            assert (answer.status_code, answer.json()["code"]) == (503, "server_busy")


class Secret:
    """Hides the word ``secret``, also when it comes in pieces."""

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> str:
        self.held = (self.held + text).replace("secret", "[hidden]")
        keep = max((size for size in range(1, 6) if self.held.endswith("secret"[:size])), default=0)
        given, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return given

    def end(self) -> str:
        held, self.held = self.held, ""
        return held


class Broken:
    def feed(self, text: str) -> str:
        raise AttributeError("whatever anybody's code may raise")

    def end(self) -> str:
        return "everything"


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_filters_see_across_the_borders_of_pieces(size: int) -> None:
    text = "the secret is a sec and a secretary of secre"
    chain = Filters([Secret, Secret])
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert "".join([chain.feed(piece) for piece in pieces] + [chain.end()]) == text.replace("secret", "[hidden]")


class Failing(Broken):
    def feed(self, text: str) -> str:
        raise ValueError("no")


@pytest.mark.parametrize("broken", [Broken, Failing])
def test_a_filter_that_raises_lets_nothing_through(broken: type[Broken]) -> None:
    chain = Filters([Secret, broken, Secret])
    assert chain.feed("a") == chain.feed("b") == chain.end() == ""
    assert chain.closed
