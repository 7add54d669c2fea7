"""Webhooks over HTTP: what a receiver gets, and what becomes of it when the receiver does not behave."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.test_journal_memory import MemoryWorld
from tests.contract.webhooks_suite import ended
from tests.server.conftest import Api, served
from tests.server.desk import desk, echo, waiter
from tests.server.receiver import Gigabyte, Receiver, drip, hang, receiving, signature_by_spec

from penstock import Settings
from penstock.adapters.memory import MemoryJournal
from penstock.ports.records import Stop
from penstock.ports.webhooks import TOPICS, Delivery, Endpoint
from penstock.server.webhooks.deliveries import Deliveries
from penstock.server.webhooks.endpoints import make_endpoint

INWARD: dict[str, Any] = {"webhook_allow_http": 1, "webhook_allowed_networks": "127.0.0.0/8"}
QUICK: dict[str, Any] = {**INWARD, "webhook_timeout_seconds": 0.3, "poll_seconds": 0.02}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def told() -> AsyncIterator[Api]:
    """A server that may send to this machine."""
    async with served(MemoryJournal(), **INWARD) as api:
        yield api


async def made(api: Api, url: str, *topics: str, **fields: Any) -> dict[str, Any]:
    answer = await api.post("/v1/webhooks", json={"url": url, "topics": topics or TOPICS, **fields})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


class Hooks:
    """Deliveries on a journal in memory whose clock is moved by hand; ``look`` attempts all that is due, once."""

    def __init__(self, **settings: Any) -> None:
        self.world = MemoryWorld()
        self.settings = Settings(**{**QUICK, **settings})
        self.journal = self.world.journal
        self.deliveries = Deliveries(self.journal, self.world.clock, self.settings)

    async def add(self, url: str, tenant: str = "acme") -> Endpoint:
        topics = ["run.ended"]
        return await make_endpoint(
            self.journal.webhooks, self.world.clock, self.settings, tenant, url, topics, created_by="tests"
        )

    async def look(self) -> int:
        count = await self.deliveries.look()
        await self.deliveries.settled()
        return count

    async def told(self, endpoint: Endpoint) -> list[Delivery]:
        return await self.journal.webhooks.deliveries("acme", endpoint.id, None, None, 100)

    async def only(self, endpoint: Endpoint) -> Delivery:
        [delivery] = await self.told(endpoint)
        return delivery

    async def shown(self, endpoint: Endpoint) -> Endpoint:
        found = await self.journal.webhooks.get("acme", endpoint.id)
        assert found is not None
        return found


async def test_what_happens_is_told_signed_and_without_content(told: Api, receiver: Receiver) -> None:
    endpoint = await made(told, receiver.url, agent="desk")
    assert endpoint["secret"].startswith("whsec_")
    await told.platform.submit(echo, "not for this endpoint")
    run = await told.platform.submit(desk, "I was charged twice")
    asked = (await receiver.until(2))[0].said["data"]["approval"]
    question = (await told.get(f"/v1/approvals/{asked}", "approver")).json()
    decision = {"decision": "approve", "digest": question["digest"], "version": question["version"]}
    answer = await told.post(f"/v1/approvals/{asked}/decision", "approver", json=decision)
    assert answer.status_code == 200, answer.text
    heard = await receiver.until(4)
    assert {item.said["type"] for item in heard} == {
        "approval.requested",
        "approval.decided",
        "run.parked",
        "run.ended",
    }
    for item in heard:
        assert item.line == "POST /hooks?of=tests HTTP/1.1"
        assert item.headers["webhook-signature"] == signature_by_spec(endpoint["secret"], item)
        assert abs(int(item.headers["webhook-timestamp"]) - time.time()) < 60
        assert item.headers["content-type"] == "application/json"
        assert item.said["data"]["run"] == str(run)
        assert item.said["data"]["links"]["run"] == f"/v1/runs/{run}"
        for content in (b"charged", b"o-1", b"cents"):
            assert content not in item.body
    assert len({item.id for item in heard}) == 4
    last = next(item.said for item in heard if item.said["type"] == "run.ended")
    assert last["data"]["outcome"] == "succeeded"
    assert set(last) == {"type", "timestamp", "data"}


async def test_stops_are_told(told: Api, receiver: Receiver) -> None:
    await made(told, receiver.url, "control.applied")
    run = await told.platform.submit(waiter, 1)
    sealed = await told.journal.stop_run("default", run, Stop.PAUSE, "ann", "secret words")
    [heard] = await receiver.until(1)
    assert (heard.said["type"], heard.said["data"]["control"]) == ("control.applied", str(sealed.control))
    assert b"secret words" not in heard.body


async def test_while_a_secret_is_replaced_either_verifies(told: Api, receiver: Receiver) -> None:
    before = await made(told, receiver.url, "run.ended")
    rotated = (await told.post(f"/v1/webhooks/{before['id']}/rotate")).json()
    assert rotated["secret"] != before["secret"]
    await told.platform.submit(echo, 1)
    [heard] = await receiver.until(1)
    expected = [signature_by_spec(secret, heard) for secret in (rotated["secret"], before["secret"])]
    assert heard.headers["webhook-signature"].split(" ") == expected


async def test_secrets_are_shown_once_and_endpoints_as_they_are(told: Api, receiver: Receiver) -> None:
    endpoint = await made(told, receiver.url, "run.ended", description="for the desk")
    listed = await told.get("/v1/webhooks")
    assert "secret" not in listed.text
    [shown] = listed.json()["items"]
    assert shown == {name: value for name, value in endpoint.items() if name != "secret"}
    assert (shown["state"], shown["waiting"], shown["dead"], shown["created_by"]) == (
        "on",
        0,
        0,
        "key:default-operator",
    )
    paused = await told.ask("PATCH", f"/v1/webhooks/{endpoint['id']}", json={"state": "paused"})
    assert (paused.json()["state"], paused.json()["paused_by"]) == ("paused", "key:default-operator")
    run = await told.platform.submit(echo, 1)
    await told.platform.result(run, timeout_seconds=20)
    assert (await told.get(f"/v1/webhooks/{endpoint['id']}")).json()["waiting"] == 1
    assert receiver.heard == []
    await told.ask("PATCH", f"/v1/webhooks/{endpoint['id']}", json={"state": "on"})
    [heard] = await receiver.until(1)
    page = (await told.get(f"/v1/webhooks/{endpoint['id']}/deliveries")).json()
    assert [(item["id"], item["run"]) for item in page["items"]] == [(heard.id, str(run))]
    actions = (await told.get("/v1/actions", "admin")).json()["items"]
    assert [item["action"] for item in actions] == ["webhook.resume", "webhook.pause", "webhook.make"]
    assert endpoint["secret"] not in str(actions)
    assert (await told.delete(f"/v1/webhooks/{endpoint['id']}")).status_code == 200
    assert (await told.get(f"/v1/webhooks/{endpoint['id']}")).json()["code"] == "webhook_unknown"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"url": "https://10.0.0.1/", "topics": ["run.ended"]}, "webhook_target_refused"),
        ({"url": "ftp://example.com/", "topics": ["run.ended"]}, "webhook_target_refused"),
        ({"url": "https://example.com/", "topics": ["run.begun"]}, "request_invalid"),
        ({"url": "https://example.com/", "topics": []}, "request_invalid"),
        ({"url": "https://example.com/", "topics": ["run.ended"], "secret": "x"}, "request_invalid"),
    ],
)
async def test_what_cannot_be_told_is_refused(api: Api, sent: dict[str, Any], code: str) -> None:
    answer = await api.post("/v1/webhooks", json=sent)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_failures_are_tried_again_with_growing_pauses_then_dead_then_replayed(receiver: Receiver) -> None:
    hooks = Hooks(webhook_attempts=6, webhook_backoff_seconds=10, webhook_failing_after=3)
    endpoint = await hooks.add(receiver.url)
    await ended(hooks.world)
    receiver.answers = [b"HTTP/1.1 500 No\r\n\r\n"] * 6
    pauses = []
    for attempt in range(1, 7):
        assert await hooks.look() == 1
        delivery = await hooks.only(endpoint)
        assert (delivery.attempts, delivery.last_status) == (attempt, "500")
        assert (await hooks.shown(endpoint)).failing_since is None or attempt >= 3
        assert delivery.last_at is not None
        pauses.append((delivery.next_at - delivery.last_at) / 1e6)
        assert attempt == 6 or await hooks.look() == 0
        await hooks.world.advance(10 * 2 ** (attempt - 1))
    assert all(pause <= 10 * 2**number for number, pause in enumerate(pauses))
    assert len(set(pauses)) == 6
    assert max(pauses) > 10, "with probability 1 in 30,000 none is"
    assert (await hooks.only(endpoint)).state == "dead"
    await hooks.world.advance(1_000_000)
    assert await hooks.look() == 0
    assert await hooks.journal.webhooks.replay_dead("acme", endpoint.id, 10) == 1
    assert await hooks.look() == 1
    assert (await hooks.only(endpoint)).state == "delivered"
    assert (await hooks.shown(endpoint)).failures == 0
    assert len({item.id for item in receiver.heard}) == 1
    assert len({item.body for item in receiver.heard}) == 1
    assert len({item.headers["webhook-timestamp"] for item in receiver.heard}) == 7


def test_by_default_attempts_go_on_for_about_a_day() -> None:
    settings = Settings()
    pauses = [
        min(settings.webhook_backoff_max_seconds, settings.webhook_backoff_seconds * 2**number) / 2
        for number in range(settings.webhook_attempts - 1)
    ]
    assert 22 * 3600 < sum(pauses) < 26 * 3600


async def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver) -> None:
    hooks = Hooks()
    async with receiving() as private:
        endpoint = await hooks.add(receiver.url)
        receiver.answers = [f"HTTP/1.1 307 Elsewhere\r\nLocation: {private.url}\r\n\r\n".encode()]
        await ended(hooks.world)
        await hooks.look()
        assert private.heard == []
    delivery = await hooks.only(endpoint)
    assert (delivery.state, delivery.last_status) == ("waiting", "307")


async def test_429_with_retry_after_leaves_the_endpoint_alone(receiver: Receiver) -> None:
    hooks = Hooks(webhook_backoff_seconds=0)
    endpoint = await hooks.add(receiver.url)
    receiver.answers = [b"HTTP/1.1 429 Slow\r\nRetry-After: 120\r\n\r\n"]
    await ended(hooks.world)
    assert await hooks.look() == 1
    await ended(hooks.world)
    await hooks.world.advance(119)
    assert await hooks.look() == 0
    await hooks.world.advance(2)
    assert await hooks.look() == 2
    assert {item.state for item in await hooks.told(endpoint)} == {"delivered"}


async def test_retry_after_with_another_failure_is_of_that_message_only(receiver: Receiver) -> None:
    hooks = Hooks(webhook_backoff_seconds=0)
    await hooks.add(receiver.url)
    receiver.answers = [b"HTTP/1.1 500 No\r\nretry-after: 120\r\n\r\n"]
    await ended(hooks.world)
    assert await hooks.look() == 1
    await ended(hooks.world)
    assert await hooks.look() == 1
    await hooks.world.advance(119)
    assert await hooks.look() == 0
    await hooks.world.advance(2)
    assert await hooks.look() == 1


async def test_410_disables_the_endpoint(receiver: Receiver) -> None:
    hooks = Hooks()
    endpoint = await hooks.add(receiver.url)
    receiver.answers = [b"HTTP/1.1 410 Gone\r\n\r\n"]
    await ended(hooks.world)
    await hooks.look()
    assert (await hooks.shown(endpoint)).paused_why == "410"
    await ended(hooks.world)
    await hooks.world.advance(1_000_000)
    assert await hooks.look() == 0
    assert [item.state for item in await hooks.told(endpoint)] == ["waiting", "waiting"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (hang, "no answer within 0.3 s"),
        (drip, "no answer within 0.3 s"),
        (b"", "no answer: the connection was closed without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "no answer: the answer is not HTTP/1.1"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
            "no answer: the head of the answer is too long",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10, "no answer: the answer never comes to an end"),
    ],
    ids=["hang", "drip", "closed", "no-http", "long-head", "interim"],
)
async def test_a_target_that_does_not_behave(receiver: Receiver, answer: Any, status: str) -> None:
    hooks = Hooks()
    endpoint = await hooks.add(receiver.url)
    receiver.answers = [answer]
    await ended(hooks.world)
    await hooks.look()
    delivery = await hooks.only(endpoint)
    assert (delivery.state, delivery.last_status) == ("waiting", status)


async def test_of_a_gigabyte_next_to_nothing_is_read(receiver: Receiver) -> None:
    hooks = Hooks()
    endpoint = await hooks.add(receiver.url)
    gigabyte = Gigabyte()
    receiver.answers = [gigabyte]
    await ended(hooks.world)
    await hooks.look()
    assert (await hooks.only(endpoint)).state == "delivered"
    async with asyncio.timeout(10):
        while receiver.open_now:
            await asyncio.sleep(0.01)
    assert gigabyte.sent < 64 << 20, "what fits into the sockets' buffers"


async def test_one_that_hangs_delays_nobody_and_is_not_flooded(receiver: Receiver) -> None:
    hooks = Hooks(webhook_endpoint_concurrency=2, webhook_concurrency=8, webhook_timeout_seconds=20)
    async with receiving() as hung:
        hung.answers = [hang] * 50
        slow, well = await hooks.add(hung.url), await hooks.add(receiver.url)
        await ended(hooks.world, 6)
        async with hooks.deliveries.going():
            await receiver.until(6)
            await hung.until(2)
            async with asyncio.timeout(10):
                while {item.state for item in await hooks.told(well)} != {"delivered"}:
                    await asyncio.sleep(0.01)
            assert (len(hung.heard), hung.open_most) == (2, 2)
            assert {item.state for item in await hooks.told(slow)} == {"waiting"}
            for task in hooks.deliveries._under_way:
                task.cancel()


async def test_however_many_hang_those_that_answer_are_not_delayed(receiver: Receiver) -> None:
    """Those that ran out of time have half of the places."""
    hooks = Hooks(webhook_endpoint_concurrency=1, webhook_concurrency=4, webhook_backoff_seconds=0)
    async with receiving() as hung:
        hung.answers = [hang] * 100
        for _ in range(8):
            await hooks.add(hung.url)
        await ended(hooks.world)
        assert [await hooks.look() for _ in range(3)] == [4, 4, 2]
        well = await hooks.add(receiver.url)
        assert await hooks.deliveries.look() == 2
        await ended(hooks.world)
        assert await hooks.deliveries.look() == 1
        await receiver.until(1, 5)
        await hooks.deliveries.settled()
        assert (await hooks.only(well)).state == "delivered"


async def test_addresses_are_checked_at_each_attempt(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that was harmless when the endpoint was made."""
    hooks = Hooks(webhook_allowed_networks="")
    port = receiver.url.rsplit(":", 1)[1].split("/")[0]
    endpoint = await hooks.add(f"http://localhost:{port}/")
    await ended(hooks.world)
    await hooks.look()
    delivery = await hooks.only(endpoint)
    assert delivery.last_status.startswith("refused: localhost is at ")
    assert receiver.heard == []


async def test_the_connection_goes_to_the_address_that_was_checked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: whoever asks a second time is sent elsewhere; so nobody may ask a second time."""
    import socket

    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, *args: Any, **fields: Any) -> Any:
        if host != "rebind.test":
            return real(host, *args, **fields)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "169.254.169.254", *args, **fields)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    hooks = Hooks()
    endpoint = await hooks.add(receiver.url.replace("127.0.0.1", "rebind.test"))
    await ended(hooks.world)
    await hooks.look()
    assert (await hooks.only(endpoint)).state == "delivered"
    assert asked == ["rebind.test"]
    assert receiver.heard[0].headers["host"].startswith("rebind.test:")
    await ended(hooks.world)
    await hooks.look()
    assert (await hooks.told(endpoint))[
        0
    ].last_status == "refused: rebind.test is at 169.254.169.254, which is not called"


async def test_the_overview_says_that_an_endpoint_fails(receiver: Receiver) -> None:
    async with served(MemoryJournal(), **INWARD, webhook_failing_after=1) as api:
        receiver.answers = [b"HTTP/1.1 500 No\r\n\r\n"] * 100
        endpoint = await made(api, receiver.url, "run.ended")
        await api.platform.submit(echo, 1)
        async with asyncio.timeout(20):
            while (await api.get(f"/v1/webhooks/{endpoint['id']}")).json()["state"] != "failing":
                await asyncio.sleep(0.02)
            while "webhook" not in [need["kind"] for need in (await api.get("/v1/overview")).json()["needs"]]:
                await asyncio.sleep(0.05)


async def test_replay_over_http(told: Api, receiver: Receiver) -> None:
    endpoint = await made(told, receiver.url, "run.ended")
    await told.platform.submit(echo, 1)
    [heard] = await receiver.until(1)
    base = f"/v1/webhooks/{endpoint['id']}/deliveries"
    async with asyncio.timeout(10):
        while (await told.get(base, params={"state": "delivered"})).json()["items"] == []:
            await asyncio.sleep(0.01)
    again = await told.post(f"{base}/{heard.id}/replay")
    assert again.json()["state"] == "waiting"
    assert [item.id for item in await receiver.until(2)] == [heard.id] * 2
    assert (await told.post(f"{base}/replay")).json() == {"replayed": 0}
    assert (await told.post(f"{base}/msg_none/replay")).status_code == 404
    assert (await told.get(base, params={"cursor": "x"})).json()["code"] == "cursor_invalid"


async def test_a_server_that_is_asked_to_stop_ends_what_it_began(receiver: Receiver) -> None:
    hooks = Hooks()
    endpoint = await hooks.add(receiver.url)
    await ended(hooks.world)
    async with hooks.deliveries.going():
        await receiver.until(1)
    assert (await hooks.only(endpoint)).state == "delivered"


async def test_two_loops_share_the_work(receiver: Receiver) -> None:
    hooks = Hooks()
    other = Deliveries(hooks.journal, hooks.world.clock, hooks.settings)
    endpoint = await hooks.add(receiver.url)
    await ended(hooks.world, 30)
    async with contextlib.AsyncExitStack() as stack:
        for loop in (hooks.deliveries, other):
            await stack.enter_async_context(loop.going())
        await receiver.until(30)
        async with asyncio.timeout(10):
            while {item.state for item in await hooks.told(endpoint)} != {"delivered"}:
                await asyncio.sleep(0.01)
    assert len(receiver.heard) == len({item.id for item in receiver.heard}) == 30
