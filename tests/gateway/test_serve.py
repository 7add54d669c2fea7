"""The gateway beside the API: `penstock serve --gateway`."""

import asyncio
import json
from pathlib import Path

import httpx2 as httpx
from tests.gateway.processes import fleet
from tests.gateway.upstream import provider


async def test_serve_answers_for_the_gateway_below_its_path(database_url: str, tmp_path: Path) -> None:
    async with provider() as simulated, fleet(database_url, tmp_path, simulated) as gateways:
        process = await gateways.serve()
        assert process.stdout is not None
        said = json.loads(await process.stdout.readline())
        key = (await gateways.command("keys", "add", "bot", "--gateway"))["key"]
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x [[seconds=0.5]]"}]}
        async with httpx.AsyncClient(base_url=said["url"], timeout=30) as client:
            assert (await client.get("/v1/me")).status_code == 401
            call = asyncio.create_task(
                client.post(
                    "/gateway/openai/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
                )
            )
            while not simulated.under_way:
                await asyncio.sleep(0.02)
            process.terminate()
            assert (await call).status_code == 200
        assert await process.wait() == 0
