"""An agent whose answers are cached, and whose model is a server that counts."""

import asyncio
import os
from urllib.parse import urlsplit

from penstock import Agent, Cache
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.testing import ScriptedModel

COUNTER_URL = "COUNTER_URL"


class DistantModel(ScriptedModel):
    """Asks the server, and then answers."""

    async def request(self, request: ModelRequest) -> ModelResponse:
        address = urlsplit(os.environ[COUNTER_URL])
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"GET /{request.messages[-1].text} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.read()
        writer.close()
        return await super().request(request)


clerk = Agent(
    "cached-clerk",
    model=DistantModel(["So."], "scripted:distant", Price(100.0, 500.0), repeat=True),
    instructions="Help.",
    temperature=0,
    timeout_seconds=20,
    cache=Cache(seconds=600, scope="tenant"),
)
