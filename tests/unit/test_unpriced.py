"""What cannot be rated is charged at its maximum and marked: never at nothing, and never at a guess."""

import dataclasses

import pytest
from tests.sim.tapes import run_live

from penstock import Agent, Budget
from penstock.events import Amount, ModelIntent, ModelOutcome
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.ports.price import price_of_text
from penstock.testing import ScriptedModel

PRICE = Price(1_000.0, 2_000.0, source="list of May")


class Saying(ScriptedModel):
    """Answers, and says that it used this."""

    def __init__(self, used: Amount | None, price: Price) -> None:
        super().__init__(["Done."], price=price)
        self.used = used

    async def request(self, request: ModelRequest) -> ModelResponse:
        return dataclasses.replace(await super().request(request), used=self.used)


async def settled(used: Amount | None, price: Price = PRICE) -> tuple[ModelIntent, ModelOutcome, int]:
    """One call's intent and outcome, and what the run was charged."""
    agent = Agent("desk", instructions="Be brief.", model=Saying(used, price), budget=Budget(usd="1"))
    tape = await run_live(agent, "hello")
    assert tape.end.outcome == "succeeded"
    [intent] = [event for event in tape.events if isinstance(event, ModelIntent)]
    [outcome] = [event for event in tape.events if isinstance(event, ModelOutcome)]
    return intent, outcome, tape.end.totals.nano


@pytest.mark.parametrize(
    "used",
    [
        None,
        Amount(-1, 5),
        Amount(10, -5),
        Amount(10, 5, cached=11),
        Amount(10, 5, cached=-1),
        Amount(10, 5, reasoning=6),
        Amount(10**12, 5),
        Amount(10, 5, audio_in=1),
        Amount(10, 5, audio_out=1),
        Amount(10, 5, written=3, written_hour=3),
        Amount(10, 5, image_out=5),
    ],
)
async def test_what_cannot_be_rated_is_charged_at_its_maximum(used: Amount | None) -> None:
    intent, outcome, charged = await settled(used)
    assert outcome.at_maximum
    assert outcome.used == intent.reserved
    assert charged == intent.reserved.nano > 0
    assert outcome.price == ""


async def test_a_settled_call_records_its_price() -> None:
    _, outcome, charged = await settled(Amount(10, 5, cached=4))
    assert not outcome.at_maximum
    assert charged == outcome.used.nano == 20_000
    assert outcome.price == "in=1000 out=2000 @list of May"
    price = price_of_text(outcome.price)
    assert price is not None
    assert price.of(outcome.used) == charged, "the record alone tells what it cost"


async def test_classes_are_settled_at_their_rates() -> None:
    price = Price(1_000.0, 2_000.0, 100.0, 1_250.0, "test", 2_000.0, None, 9_000.0, 900.0, 20_000.0)
    used = Amount(100, 30, cached=20, written=30, written_hour=10, audio_in=10, audio_cached=5, audio_out=4)
    _, outcome, charged = await settled(used, price)
    plain = (100 - 20 - 30 - 5) * 1_000
    cached = 15 * 100 + 5 * 900
    assert charged == plain + cached + 20 * 1_250 + 10 * 2_000 + 5 * 9_000 + 26 * 2_000 + 4 * 20_000
    assert outcome.used.audio_in == 10
