"""`penstock cache`: what it served, and dropping what it holds; on a real database."""

import asyncio
import os

import pytest
from tests.api.conftest import CommandLine

from penstock import Agent, Cache
from penstock.cli.exits import ExitCode
from penstock.kernel.errors import InputInvalid
from penstock.ports.model import Price
from penstock.settings import Settings
from penstock.testing import ScriptedModel
from penstock.wiring import open_penstock

TENANT = ("--tenant", "cache-t")


@pytest.fixture(scope="module")
def cached(command_line: CommandLine) -> None:
    """Two answers of a tenant of its own, one of which was given again."""

    async def work() -> None:
        model = ScriptedModel(["So."], "scripted:cached", Price(100.0, 500.0), repeat=True)
        desk = Agent("cached-desk", model=model, instructions="Help.", temperature=0, cache=Cache(seconds=600))
        ours = {name: value for name, value in command_line.environment.items() if name.startswith("PENSTOCK_")}
        settings = Settings.from_env({**ours, "PENSTOCK_TENANT": "cache-t"})
        async with open_penstock(settings, agents=[desk], worker="cache-t") as platform:
            for customer in ("blue", "blue", "red"):
                run = await platform.submit(desk, "Well?", tags={"customer": customer})
                assert (await platform.result(run, timeout_seconds=30)).output == "So."
                await asyncio.sleep(0.2)

    asyncio.run(work())
    assert os.environ.get("PENSTOCK_TENANT") is None


def test_show_and_clear(command_line: CommandLine, cached: None) -> None:
    document = command_line.quick("cache", "show", *TENANT, "--json").document
    [row] = document["rows"]
    assert (row["agent"], row["name"], row["hits"], row["misses"]) == ("cached-desk", "scripted:cached", 1, 2)
    assert document["entries"] == 2
    assert row["saved_nano"] == document["total"]["saved_nano"] > 0
    shown = command_line.quick("cache", "show", *TENANT)
    head, line, total = shown.out.splitlines()
    assert head.split()[:2] == ["AGENT", "MODEL"]
    assert line.split()[:5] == ["cached-desk", "scripted:cached", "1", "2", "33.3%"]
    assert total.split()[0] == "(all)"
    assert "2 answers are kept" in shown.err
    gone = command_line.quick("cache", "clear", "--scope", "customer=blue", *TENANT, "--json")
    assert gone.document == {"entries": 1}
    assert command_line.quick("cache", "clear", "--all", *TENANT, "--json").document == {"entries": 1}
    assert "nothing was counted" in command_line.quick("cache", "show", "--tenant", "cache-u").err


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--all", "--agent", "desk"),
        ("--scope", "customer"),
        ("--scope", "tenant=acme"),
        ("--scope", "all"),
        ("--model", "m", "--tool", "t"),
    ],
)
def test_what_cannot_be_meant_is_refused(command_line: CommandLine, given: tuple[str, ...]) -> None:
    refused = command_line.quick("cache", "clear", *given)
    assert refused.code == ExitCode.USAGE
    assert InputInvalid.code in refused.err
