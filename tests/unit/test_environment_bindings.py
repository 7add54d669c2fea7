"""Which function a tool's name stands for in an environment, and the secrets that tools are given there."""

import asyncio
import contextlib
import dataclasses
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from tests.unit.environment_tools import SECRET, Sandbox, charge, look, refund, said, wire

from penstock import Agent, Run, ToolContext, agent, tool
from penstock.adapters.environments import EnvironmentSecrets
from penstock.adapters.memory import MemoryJournal
from penstock.events import ToolIntent, ToolOutcome, VerdictRecorded, decode
from penstock.gates.environment.bindings import Bindings
from penstock.gates.environment.secrets import SecretKeeper
from penstock.integrations.pydantic_ai import govern
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import CallDenied, EnvironmentInvalid, GateMisused, ToolFailed, ToolInvalid
from penstock.ports.environments import Environment, Secrets, SecretSource
from penstock.ports.tools import DefinedNow, Remote
from penstock.rules.verdict import Decision
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.settings import Settings
from penstock.testing import ScriptedModel, in_memory, tool_call
from penstock.wiring import assemble

HERE = "tests.unit.environment_tools"


@agent("clerk")
async def clerk(run: Run, calls: list[list[str]]) -> list[Any]:
    tools: dict[str, Any] = {"refund": refund, "look": look, "charge": charge, "wire": wire}
    heard: list[Any] = []
    for name, what in calls:
        try:
            heard.append(await run.call(tools[name], what))
        except CallDenied as denied:
            heard.append(str(denied.fields["rule"]))
        except ToolFailed as failed:
            heard.append(f"failed: {failed.fields['failure']}: {failed.what}")
    return heard


desk = Agent(
    "desk",
    model=ScriptedModel([tool_call("refund", order="o-1"), "Done."], repeat=True),
    instructions="Help.",
    tools=[refund, look],
)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    said.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "environments.toml"


def settings_of(file: Path, text: str, **fields: Any) -> Settings:
    file.write_text(text)
    return Settings(environment="staging", environments=file, poll_seconds=0.05, **fields)


@contextlib.asynccontextmanager
async def platform(settings: Settings, *agents: Any) -> AsyncIterator[Penstock]:
    async with in_memory(settings, agents=list(agents)) as known:
        yield known


async def heard(known: Penstock, *calls: tuple[str, str]) -> list[str]:
    run = await known.submit(clerk, [list(call) for call in calls])
    result = await known.result(run, timeout_seconds=20)
    assert isinstance(result.output, list)
    return result.output


async def events(known: Penstock, run: UUID) -> list[Any]:
    return [decode(row.body) for row in await known.journal.tape("default", run)]


async def test_what_is_bound_acts_in_a_tools_place_and_the_record_says_so(file: Path) -> None:
    settings = settings_of(file, f'[staging.tools]\nrefund = "{HERE}:Sandbox.refund"\n')
    async with platform(settings, clerk) as known:
        run = await known.submit(clerk, [["refund", "o-1"], ["look", "o-1"]])
        assert (await known.result(run, timeout_seconds=10)).output == ["sandbox", "real"]
        intents = [event for event in await events(known, run) if isinstance(event, ToolIntent)]
        row = await known.journal.get_run("default", run)
        assert row is not None
        assert (await replay(known.services, row, [clerk])).same
        async with platform(Settings()) as elsewhere:  # the record alone, where nothing is bound
            services = dataclasses.replace(known.services, environment=elsewhere.services.environment)
            assert (await replay(services, row, [clerk])).same
    assert said == ["sandbox refund of o-1", "real look at o-1"]
    bound = Sandbox.refund.definition
    assert [intent.binding for intent in intents] == [f"{HERE}:Sandbox.refund@{bound.digest[:16]}", ""]
    assert intents[0].risk == "low"


async def test_an_agents_own_binding_comes_before_that_of_all(file: Path) -> None:
    text = f'[staging.tools]\nrefund = "deny"\n"desk.refund" = "{HERE}:Sandbox.refund"\n'
    text += '[staging.tools.nobody]\nlook = "deny"\n'
    async with platform(settings_of(file, text), clerk, desk) as known:
        assert await heard(known, ("refund", "o-1"), ("look", "o-1")) == ["tool_unbound", "real"]
        run = await known.submit(desk, "money back")
        assert (await known.result(run, timeout_seconds=10)).output == "Done."
    assert said == ["real look at o-1", "sandbox refund of o-1"]


@agent("hybrid")
async def hybrid(run: Run, order: str) -> list[str]:
    return [await run.call(desk, order), await run.call(refund, order)]


async def test_what_children_and_code_call_is_bound_alike(file: Path) -> None:
    settings = settings_of(file, f'[staging.tools]\nrefund = "{HERE}:Sandbox.refund"\n')
    async with platform(settings, hybrid) as known:
        run = await known.submit(hybrid, "o-2")
        assert (await known.result(run, timeout_seconds=10)).output == ["Done.", "sandbox"]
    assert said == ["sandbox refund of o-1", "sandbox refund of o-2"]


def test_what_stands_for_a_servers_tool_asks_that_server_nothing() -> None:
    async def nobody(seconds: float) -> DefinedNow | None:
        raise AssertionError(seconds)

    remote = Remote("shop/refund", "d", nobody, lambda tenant, digest: None)
    tool_there = dataclasses.replace(refund.definition, remote=remote, preview=look.definition)
    for where in (f"{HERE}:Sandbox.refund", "deny"):
        standing = Bindings(Environment("staging", {"refund": where})).standing("any", tool_there)
        assert standing.tool.preview is None
        assert standing.tool.remote is None
    bound = Bindings(Environment("staging", {"refund": f"{HERE}:Sandbox.refund"})).standing("any", tool_there).tool
    assert bound.digest not in (refund.definition.digest, Sandbox.refund.definition.digest)  # of what is cached


async def test_a_denied_tool_is_denied_before_anybody_is_asked(file: Path) -> None:
    asking = tool(name="refund", effect="write")(refund.function)  # a person would have to allow it

    @agent("asker")
    async def asker(run: Run, order: str) -> str:
        return str(await run.call(asking, order))

    async with platform(settings_of(file, '[staging.tools]\nrefund = "deny"\n'), asker) as known:
        run = await known.submit(asker, "o-1")
        result = await known.result(run, timeout_seconds=10)
        tape = await events(known, run)
    assert result.outcome == "refused"
    assert not [event for event in tape if isinstance(event, ToolIntent)]
    (verdict,) = [event for event in tape if isinstance(event, VerdictRecorded)]
    [denied] = [item for item in verdict.verdicts if item.verdict == "deny"]
    assert (denied.rule, denied.code) == ("binding", "tool_unbound")
    assert denied.reason == "the tool refund is not called in the environment staging"
    assert said == []


async def test_writes_that_must_be_bound_are_denied_and_reads_are_not(file: Path) -> None:
    text = f'[staging]\nwrites = "bound"\n[staging.tools]\nrefund = "{HERE}:Sandbox.refund"\n'
    async with platform(settings_of(file, text), clerk) as known:
        asked = await heard(known, ("refund", "o"), ("charge", "o"), ("look", "o"))
    assert asked == ["sandbox", "tool_unbound", "real"]
    assert said == ["sandbox refund of o", "real look at o"]


@pytest.mark.parametrize(
    ("name", "where", "why"),
    [
        ("refund", "Sandbox.other_arguments", "its arguments are others"),
        ("refund", "Sandbox.only_reads", "it is declared as a read, and the tool as a write"),
        ("charge", "Sandbox.without_key", "it takes no idempotency key"),
    ],
)
async def test_what_does_not_match_is_refused_at_the_start_and_at_the_gate(
    file: Path, name: str, where: str, why: str
) -> None:
    settings = settings_of(file, f'[staging.tools]\n{name} = "{HERE}:{where}"\n')
    declared = Agent("d", model=ScriptedModel(["-"]), instructions="-", tools=[refund, charge])
    with pytest.raises(EnvironmentInvalid, match=why):
        async with platform(settings, declared):
            pass
    async with platform(settings, clerk) as known:  # whose tools nobody knows before it calls them
        assert await heard(known, (name, "o")) == ["tool_unbound"]
    assert said == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('refund = "nowhere.at.all:refund"', "cannot be imported: ModuleNotFoundError"),
        (f'refund = "{HERE}:Nobody.refund"', "has no Nobody.refund"),
        (f'refund = "{HERE}:no_tool"', "is no tool"),
        (f'look = "{HERE}:Sandbox.refund"', "is a tool named refund"),
    ],
)
async def test_what_is_not_there_is_refused_at_the_start(file: Path, line: str, why: str) -> None:
    with pytest.raises(EnvironmentInvalid, match=why) as refused:
        async with platform(settings_of(file, f"[staging.tools]\n{line}\n"), clerk):
            pass
    assert refused.value.code == "environment_invalid"


async def test_an_environment_that_the_file_does_not_have_is_refused(file: Path) -> None:
    settings = settings_of(file, "[production]\n")
    with pytest.raises(EnvironmentInvalid, match="has no environment staging"):
        async with platform(settings):
            pass


async def test_a_run_of_another_environment_calls_nothing_here(file: Path) -> None:
    """Should it come here all the same: by a worker of older code."""
    async with (
        in_memory(Settings(environment="production"), agents=[clerk]) as known,
        platform(settings_of(file, "[staging]\n")) as other,
    ):
        known.services.environment = other.services.environment
        assert await heard(known, ("refund", "o"), ("look", "o")) == ["tool_unbound", "tool_unbound"]
    assert said == []


async def test_the_tools_of_a_pydantic_ai_agent_are_bound_too(file: Path) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        del info
        if any(isinstance(message, ModelResponse) for message in messages):
            return ModelResponse([TextPart(str(messages[-1].parts[0].content))])  # type: ignore[union-attr]
        return ModelResponse([ToolCallPart("refund", {"order": "o-1"}, "c-1")])

    library: LibraryAgent[None, str] = LibraryAgent(FunctionModel(answer, model_name="scripted"))

    @library.tool_plain(name="refund")
    async def their_refund(order: str) -> str:
        said.append("theirs")
        return "theirs"

    governed = govern(library, name="governed", effects={"refund": {"effect": "write", "permission": "auto"}})
    settings = settings_of(file, f'[staging.tools]\nrefund = "{HERE}:Sandbox.refund"\n')
    async with platform(settings, governed) as known:
        run = await known.submit(governed, "go")
        assert (await known.result(run, timeout_seconds=10)).output == "sandbox"
        row = await known.journal.get_run("default", run)
        assert row is not None
        services = dataclasses.replace(known.services, environment=None)
        assert (await replay(services, row, [governed])).same
    assert said == ["sandbox refund of o-1"]


def secrets_of(file: Path, tmp_path: Path, value: str | None = SECRET) -> Settings:
    if value is not None:
        (tmp_path / "shop").write_text(value + "\n")
    return settings_of(
        file,
        f'[staging.tools]\nlook = "{HERE}:Sandbox.look"\n[staging.secrets]\nshop_key = {{file = "{tmp_path}/shop"}}\n'
        'bank_key = {env = "SHOP_KEY"}\n[production.secrets]\nother = {env = "OTHER_KEY"}\n',
    )


async def test_a_process_gets_what_its_tool_declared_and_says_none_of_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SHOP_KEY", "bk-value-in-a-variable")
    monkeypatch.setenv("OTHER_KEY", "ok-of-production")
    async with platform(secrets_of(file, tmp_path), clerk) as known:
        run = await known.submit(clerk, [["wire", "tell"], ["wire", "raise"], ["wire", "undeclared"]])
        result = await known.result(run, timeout_seconds=20)
        tape = await events(known, run)
        told, raised, undeclared = result.output
        assert told[0] == "[secret shop_key]"
        assert "secret" not in told[1].replace("'secret", "")  # it is no part of what a context shows
        assert told[2:] == ["None", "None"]  # variables that hold secrets of any environment
        assert raised == "failed: tool_failed: wire: ValueError: the shop refuses [secret shop_key]"
        assert "has not declared it" in undeclared
        outcomes = [event for event in tape if isinstance(event, ToolOutcome)]
        assert [(item.kind, item.action) for item in outcomes[0].filtered] == [("secret:shop_key", "redact")]
        held = [row.body for row in await known.journal.tape("default", run)]
        assert not any(SECRET.encode() in body for body in held)
        assert SECRET not in repr(known.services.environment)
    assert SECRET not in caplog.text


async def test_a_secret_that_is_not_there_denies_the_call_before_its_intent(file: Path, tmp_path: Path) -> None:
    async with platform(secrets_of(file, tmp_path, None), clerk) as known:
        run = await known.submit(clerk, [["look", "o"]])
        assert (await known.result(run, timeout_seconds=10)).output == ["secret_missing"]
        tape = await events(known, run)
        assert not [event for event in tape if isinstance(event, ToolIntent)]
        (verdict,) = [event for event in tape if isinstance(event, VerdictRecorded)]
        reason = verdict.verdicts[-1].reason
        assert reason == f"the tool look needs the secret shop_key: it is not in the file {tmp_path}/shop"
        (tmp_path / "shop").write_text("first-value")  # and then it is there
        assert await heard(known, ("look", "o")) == ["sandbox"]
        (tmp_path / "shop").write_text("second-value\r\n")
        assert await heard(known, ("look", "o")) == ["sandbox"]
    assert said == ["sandbox look at o with first-value", "sandbox look at o with second-value"]


async def test_without_a_file_a_declared_secret_is_missing() -> None:
    async with in_memory(agents=[clerk]) as known:
        assert await heard(known, ("wire", "tell")) == ["secret_missing"]


@tool(effect="write", risk="low", permission="auto", in_doubt="idempotent", timeout_seconds=0.1)
async def stall(order: str) -> str:
    """Never comes back."""
    said.append(f"stalled over {order}")
    await asyncio.Event().wait()
    return "never"


@agent("staller")
async def staller(run: Run, order: str) -> str:
    return str(await run.call(stall, order))


async def test_a_write_in_doubt_is_not_repeated_where_its_tool_is_denied_by_now(file: Path) -> None:
    """It may have happened, so a denial on the record would be a lie: a person says what became of it."""
    quick: dict[str, Any] = {"start_allowance_seconds": 0.1, "doubt_margin_seconds": 0.1, "drain_seconds": 0.0}
    journal = MemoryJournal()
    async with assemble(journal, settings_of(file, "[staging]", **quick), agents=[staller]) as before:
        before.start_worker("before")
        run = await before.submit(staller, "o-1")
        while not said:
            await asyncio.sleep(0.005)
    async with assemble(
        journal, settings_of(file, '[staging.tools]\nstall = "deny"', **quick), agents=[staller]
    ) as after:
        after.start_worker("after")
        async with asyncio.timeout(20):
            while not (waiting := await after.approvals()):
                await asyncio.sleep(0.01)
        tape = await events(after, run)
    assert [item.question for item in waiting] == ["did_it_happen"]
    assert said == ["stalled over o-1"]
    assert not [event for event in tape if isinstance(event, VerdictRecorded)]
    repeats = [event for event in tape if isinstance(event, ToolIntent)]
    assert len(repeats) > 1
    assert not any(verdict.verdict == "deny" for event in repeats for verdict in event.verdicts)


def test_values_are_known_again_after_they_were_changed_and_short_ones_are_not(tmp_path: Path) -> None:
    file = tmp_path / "key"
    keeper = SecretKeeper(EnvironmentSecrets({"key": SecretSource(file=str(file))}, lambda name: None))
    for value in ("the-first-value", "the-first-value-and-more", 'a "quoted"\nvalue', "short"):
        file.write_text(value)
        assert not isinstance(keeper.of("tool", ["key"]), Decision)
    said = {"the-first-value": ["x the-first-value-and-more y", 'a "quoted"\nvalue', "short", 7, None]}
    assert keeper.is_in(stable_json(said))
    found: dict[str, int] = {}
    assert keeper.without(said, found) == {"[secret key]": ["x [secret key] y", "[secret key]", "short", 7, None]}
    assert found == {"key": 3}
    assert not keeper.is_in(stable_json(["short", "the-first"]))


def test_secrets_show_themselves_to_nobody_who_does_not_ask() -> None:
    secrets = Secrets({"shop_key": SECRET})
    assert SECRET not in f"{secrets!r} {secrets}"
    assert pickle.loads(pickle.dumps(secrets)).of("shop_key") == SECRET
    with pytest.raises(TypeError):
        list(secrets)  # type: ignore[call-overload]
    context = ToolContext("t", UUID(int=1), "0", 1, 1, "k", 1.0, "staging", {}, secrets=secrets)
    assert SECRET not in f"{context!r} {dataclasses.asdict(context)!r}"
    assert context.secret("shop_key") == SECRET
    with pytest.raises(GateMisused, match="'bank_key'"):
        context.secret("bank_key")


def test_a_tool_that_declares_secrets_must_be_able_to_ask_for_them() -> None:
    with pytest.raises(ToolInvalid, match="cannot ask for them"):
        tool(effect="read", secrets=["shop_key"])(refund.function)
    plain, declares = look.definition.digest, Sandbox.look.definition
    assert declares.secrets == ("shop_key",)
    assert declares.digest != plain
