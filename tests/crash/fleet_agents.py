"""What the fleet's workers work on: each kind of call, with effects in a `Ledger`. Loaded by ``penstock worker``."""

import asyncio
import os
import re
from pathlib import Path

from tests.crash.ledger import Ledger

from penstock import Budget, IdempotencyKey, Run, ToolContext, agent, tool
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.runs.work.lease import LeaseKeeper
from penstock.testing import ScriptedModel

FOLDER, IMMORTAL = "CRASH_LEDGER", "CRASH_IMMORTAL"
"""Environment variables of a worker: its ledger's folder; and whether it goes on after it was stopped for long, which a
worker notices and ends itself. One that does not is the worst zombie there can be."""

PRICE = Price(250.0, 1000.0, source="test")
TIMEOUT = 0.6
BUDGET = Budget(usd="0.01", tokens=5000)
WRITES = ("charge", "notify", "post", "stamp", "book")
_TAG = re.compile(r"tag=([\w.-]+)")

if os.environ.get(IMMORTAL):
    LeaseKeeper._die = lambda self, why: None  # type: ignore[method-assign]


def ledger() -> Ledger:
    """The world that this process's tools change."""
    return Ledger(Path(os.environ[FOLDER]))


class Metered(ScriptedModel):
    """Keeps an account of its own in the world."""

    def __init__(self) -> None:
        super().__init__(["parcel"], "scripted:fleet", PRICE, repeat=True)

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Answer, note the cost where no crash can lose it, and take some time over it."""
        response = await super().request(request)
        self.calls.clear()
        found = _TAG.search(" ".join(message.text for message in request.messages))
        assert found is not None
        assert response.used is not None
        ledger().model_call(found.group(1), PRICE.of(response.used))
        await asyncio.sleep(0.01)
        return response


MODEL = Metered()


@tool(effect="read", timeout_seconds=TIMEOUT)
async def look(tag: str, what: str) -> str:
    """Read something that is too large to travel with an event."""
    await asyncio.sleep(0.005)
    return f"{what} of {tag}; " * 40


@tool(permission="auto", in_doubt="keyed", timeout_seconds=TIMEOUT)
async def charge(tag: str, key: IdempotencyKey, context: ToolContext) -> str:
    """A receiver that knows its keys, asked slowly: whatever stops a worker stops some of them here."""
    world = ledger()
    world.call("charge", tag, context)
    await asyncio.sleep(0.1)
    world.effect_once("charge", context)
    await asyncio.sleep(0.05)
    return key


async def was_notified(tag: str) -> bool:
    """Ask whether it happened."""
    return ledger().happened("notify", tag) > 0


@tool(permission="auto", in_doubt="confirm", confirm=was_notified, timeout_seconds=TIMEOUT)
async def notify(tag: str, context: ToolContext) -> str:
    """Cannot be repeated, but looked up."""
    await _slowly("notify", tag, context)
    await asyncio.sleep(0.05)
    return "sent"


@tool(permission="auto", timeout_seconds=TIMEOUT)
async def post(tag: str, context: ToolContext) -> str:
    """Can neither be repeated nor looked up by a program."""
    await _slowly("post", tag, context)
    await asyncio.sleep(0.05)
    return "posted"


@tool(permission="auto", in_doubt="keyed", timeout_seconds=TIMEOUT)
def stamp(tag: str, key: IdempotencyKey, context: ToolContext) -> str:
    """A synchronous write: it runs in a process of its own."""
    world = ledger()
    world.call("stamp", tag, context)
    world.effect_once("stamp", context)
    return key


@tool(permission="auto", in_doubt="keyed", timeout_seconds=TIMEOUT)
async def book(tag: str, key: IdempotencyKey, context: ToolContext) -> str:
    """The child's write."""
    world = ledger()
    world.call("book", tag, context)
    world.effect_once("book", context)
    await asyncio.sleep(0.005)
    return key


async def _slowly(name: str, tag: str, context: ToolContext) -> None:
    world = ledger()
    with world.unkeyed(f"{tag}-{name}"):
        world.call(name, tag, context)
        await asyncio.sleep(0.05)
        world.effect(name, tag, context)


@agent("receipt", version="1", budget=BUDGET)
async def receipt(run: Run, tag: str) -> str:
    """The child."""
    await run.call(book, tag)
    return f"receipt for {tag}"


@agent("parcel", version="1", budget=BUDGET)
async def parcel(run: Run, tag: str) -> dict[str, str | None]:
    """Every kind of call, some side by side, with a sleep in which the run is nobody's."""
    label = await run.ask(MODEL, f"Which kind? tag={tag}", max_tokens=16)
    address, charged = await run.gather(run.call(look, tag, "address"), run.call(charge, tag))
    sent = await run.call(notify, tag)
    await run.sleep(0.05)
    posted, booked = await run.gather(run.call(post, tag), run.call(receipt, tag))
    stamped = await run.call(stamp, tag) if is_stamped(tag) else None
    again = await run.ask(MODEL, f"Is it done? tag={tag}", max_tokens=16)
    return {
        "label": label,
        "address": address[:10],
        "charged": "yes" if charged else None,
        "sent": sent,
        "posted": posted,
        "booked": booked,
        "stamped": "yes" if stamped else None,
        "again": again,
    }


AGENTS = [parcel, receipt]


def is_stamped(tag: str) -> bool:
    """Few runs make the synchronous write: starting its process is the dearest thing a worker does."""
    return tag.endswith("7")


def expected(tag: str) -> dict[str, str | None]:
    """What the run gives when no answer is lost."""
    return {
        "label": "parcel",
        "address": f"address of {tag}"[:10],
        "charged": "yes",
        "sent": "sent",
        "posted": "posted",
        "booked": f"receipt for {tag}",
        "stamped": "yes" if is_stamped(tag) else None,
        "again": "parcel",
    }
