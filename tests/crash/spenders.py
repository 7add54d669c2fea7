"""An agent whose calls cost money, counted where they arrive. Loaded by ``penstock worker``."""

import asyncio
import os
import random

from penstock import Agent
from penstock.events import Amount
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.testing import ScriptedModel

WIRE = "CRASH_WIRE"
"""Environment variable of a worker: the file that each call's cost is added to."""
PRICE = Price(1000.0, 1000.0, source="test")
MAX_TOKENS = 900
"""Of each answer; most use a part of it."""


class Wire(ScriptedModel):
    """Notes each call and its cost, in one write that no crash can lose, when it has used its tokens."""

    def __init__(self) -> None:
        super().__init__(["Paid."], "scripted:wire", PRICE, repeat=True)

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Use between a tenth and all of what is allowed."""
        answer = await super().request(request)
        self.calls.clear()
        assert answer.used is not None
        most = request.settings.max_tokens
        tokens = most if random.random() < 0.1 else random.randrange(most // 10, most // 2)
        await asyncio.sleep(random.uniform(0.02, 0.15))
        used = Amount(answer.used.tokens_in, tokens)
        note = os.open(os.environ[WIRE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(note, f"{PRICE.of(used)}\n".encode())
        os.close(note)
        return ModelResponse(answer.message, used, answer.finish)


spender = Agent("spender", model=Wire(), instructions="Spend.", max_tokens=MAX_TOKENS)
