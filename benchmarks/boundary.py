"""AgentBoundary's 40 scenarios played through our gates: how many pass by its own grader, and by the check of a receipt
against our record.

Each scenario is a run: its policy in our language, its tool, its agent, its approvals through our inbox. The receipt is
the view of the journal (`penstock.views.receipts`). What a scenario plants in a receipt is planted in ours, and it only
passes when the package's grader finds it *and* our check against the record does. Scenarios that plant what an honest
emitter would say (a chain, a failure, full provenance) are played instead: nothing is planted. Two ask for an execution
on a stale or a stranger's approval: here the gate has to refuse that first; then a rightful approval's receipt is
forged as the scenario says. The grader is told which versions of the policy, receipts and ids are known, as they are
ours.
"""

import asyncio
import contextlib
import copy
import hashlib
import inspect
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from benchmarks.bench import Bench, Unavailable
from benchmarks.environment import Environment
from benchmarks.figures import Figure
from benchmarks.served import ROOT
from penstock import Agent, Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.kernel.canonical import canonical_json
from penstock.kernel.errors import ApprovalDecided, ApprovalExpired, ApproverUnfit, CallDenied, ToolFailed
from penstock.kernel.ids import new_id
from penstock.ports.access import NewKey
from penstock.ports.people import Person
from penstock.ports.questions import Voter
from penstock.ports.records import RunRow
from penstock.ports.tools import TransientToolError
from penstock.rules.policy.policy_set import PolicySet
from penstock.runs.approvals import Approval
from penstock.runs.approving.deciding import decide
from penstock.runs.client import Penstock
from penstock.testing import ScriptedModel, tool_call
from penstock.views.receipts import HASH, Receipt, check, receipts_of
from penstock.wiring import assemble

GROUP = "Action receipts"
PACKAGE = Environment("agentboundary", "agentboundary")
PEER = ROOT / "benchmarks" / "boundary_peer.py"
PEER_SECONDS = 120
TENANT = "default"
TITLE = "rightful"
SHORT = "1 s"
"""How long a question waits that is to lapse."""
EXPLAINED = {"11": "approval.approved_at", "12": "approval.approver.id"}
"""Scenarios, by number, that plant nothing because theirs is executed: the field that is forged in ours."""

Scenario = dict[str, Any]


@dataclass(slots=True)
class Played:
    """What came of one scenario.

    Attributes:
        decision: allow | deny | escalate: whether it was executed.
        setup: the scenario's, with what a verifier of ours knows.
        problems: what our check of the receipt against the record says.
        fault: why it did not go as it must, whatever the receipt says; '' = it did.
    """

    decision: str
    receipt: Receipt
    arguments: dict[str, Any]
    setup: dict[str, Any]
    problems: list[str]
    fault: str = ""

    def refused(self, scenario: Scenario) -> str:
        """Why our side does not pass; '' = it does."""
        if self.fault:
            return self.fault
        bad = bool(scenario["expect"].get("failures_must_include"))
        if bad and not self.problems:
            return "our check found nothing"
        return f"our check: {self.problems}" if self.problems and not bad else ""


@dataclass(slots=True)
class Guard:
    """One policy for all."""

    policy: PolicySet

    def for_run(self, agent: str, release: str, environment: str) -> PolicySet:
        """The policy in force."""
        return self.policy


@dataclass(slots=True)
class World:
    """A platform of a scenario's own, and how often its tool took effect."""

    scenario: Scenario
    platform: Penstock
    definition: Any
    effects: list[dict[str, Any]] = field(default_factory=list)

    async def voter(self, name: str, *, rightful: bool) -> Voter:
        """Somebody with a key that may decide, and with the title that the policy asks for or without."""
        journal, key = self.platform.journal, new_id(self.platform.services.clock)
        digest = hashlib.sha256(name.encode()).digest()
        await journal.access.add_key(NewKey(TENANT, key, digest.hex()[:12], digest, name, ("approver",), None, "bench"))
        await journal.questions.people.put(Person(TENANT, name, name, roles=(TITLE,) if rightful else ()))
        return Voter(name, ("approver",), str(key))

    async def question(self) -> Approval:
        """The one that waits."""
        while True:
            waiting = await self.platform.approvals()
            if waiting:
                return waiting[0]
            await asyncio.sleep(0.005)


async def play(scenario: Scenario) -> Played:
    """Play a scenario through the gates, in memory."""
    fault = ""
    if scenario["name"].startswith("11-"):
        fault = await _late(scenario)
    async with _opened(scenario, SHORT if scenario["name"].startswith("05-") else "60 s") as world:
        run = await _submitted(world)
        if _policies(scenario)[0]["rule"] == "require-approval":
            fault = fault or await _approved(world)
        await world.platform.result(run)
        row = await world.platform.journal.get_run(TENANT, run)
        assert row is not None
        recorded = await receipts_of(world.platform.journal, row)
        return _planted(scenario, world, row, recorded, fault)


async def _late(scenario: Scenario) -> str:
    """The approval of whom the policy names, given when its time is over, must execute nothing."""
    async with _opened(scenario, SHORT) as world:
        run = await _submitted(world)
        question = await world.question()
        voter = await world.voter(_policies(scenario)[0]["approvers"][0]["id"], rightful=True)
        await world.platform.result(run)
        try:
            await decide(world.platform.journal, question, "approve", voter)
        except (ApprovalExpired, ApprovalDecided):
            return "it was executed all the same" if world.effects else ""
        return "a late approval was taken"


async def _approved(world: World) -> str:
    """Approve as the scenario says; somebody whom the policy does not name is tried first, and must be refused."""
    question, journal = await world.question(), world.platform.journal
    [named] = [item["id"] for item in _policies(world.scenario)[0]["approvers"]][:1]
    given = world.scenario["setup"]["approvals"][0]
    if given["approver"]["id"] != named:
        stranger = await world.voter(given["approver"]["id"], rightful=False)
        try:
            await decide(journal, question, "approve", stranger)
        except ApproverUnfit:
            if world.effects:
                return "it was executed all the same"
        else:
            return "a stranger's approval was taken"
    reason = json.dumps(given["context"]) if "context" in given else ""
    await decide(journal, question, "approve", await world.voter(named, rightful=True), reason=reason)
    return ""


def _planted(scenario: Scenario, world: World, row: RunRow, recorded: list[Receipt], fault: str) -> Played:
    """The receipt as the scenario wants it handed in, and what is known to who checks it."""
    name, setup = scenario["name"], copy.deepcopy(scenario["setup"])
    if not recorded:
        return Played("deny", {}, {}, setup, [], f"run {row.id} left no receipt")
    receipt = copy.deepcopy(recorded[-1])
    for item in setup["policies"]:
        item["version"] = world.platform.services.policy.for_run("", "", "").version  # type: ignore[union-attr]
    seen: set[str] = set()
    if scenario["expect"].get("failures_must_include"):
        for step in scenario["action"].get("inject", ()):
            _plant(receipt, step)
        if name[:2] in EXPLAINED:
            said = setup["approvals"][0]
            value = said["approved_at"] if name.startswith("11-") else said["approver"]["id"]
            _plant(receipt, {"op": "mutate_field", "path": EXPLAINED[name[:2]], "value": value, "recompute_hash": True})
        if "seed_receipt_id" in setup:
            seen = {receipt["receipt_id"]}
            setup["prior_receipt_ids"] = [receipt["receipt_id"]]
    else:
        fault = fault or _unlike(scenario, receipt, recorded)
    if "prior_receipt_hashes" in setup or "prior_receipt" in receipt:
        setup["prior_receipt_hashes"] = {item["receipt_id"]: item[HASH] for item in recorded}
    arguments = world.effects[-1] if world.effects else scenario["action"]["arguments"]
    status = recorded[-1]["execution"]["status"]
    ruled = recorded[-1]["policy"]["decision"]
    decision = "allow" if ruled == "require-approval" or status == "success" else ruled
    if (status == "success") != bool(world.effects) and status != "failure":
        fault = fault or "the receipt does not say what took effect"
    return Played(decision, receipt, arguments, setup, check(receipt, recorded, seen), fault)


def _unlike(scenario: Scenario, receipt: Receipt, recorded: Sequence[Receipt]) -> str:
    """What an honest scenario plants must be in our receipt by itself."""
    planted = {step["path"]: step.get("value") for step in scenario["action"].get("inject", ())}
    for path in ("execution.status", "execution.error_code"):
        if path in planted and receipt["execution"].get(path.split(".")[1]) != planted[path]:
            return f"{path} is {receipt['execution']}"
    if "prior_receipt" in planted and receipt.get("prior_receipt", {}).get(HASH) != recorded[0][HASH]:
        return "it is not chained to the receipt before it"
    if "32-" in scenario["name"] and recorded[1].get("prior_receipt") != receipt["prior_receipt"]:
        return "the two that went side by side do not share theirs"
    return ""


def _plant(receipt: Receipt, step: dict[str, Any]) -> None:
    """Change a receipt as the package's scenarios say."""
    if step["op"].startswith("tamper_"):
        name = step["op"].removeprefix("tamper_")
        receipt[name] = format(int(receipt[name][0], 16) ^ 0xF, "x") + receipt[name][1:]
        return
    *above, last = step["path"].split(".")
    holder = receipt
    for part in above:
        holder = holder.setdefault(part, {})
    if step["op"] == "omit_field":
        holder.pop(last, None)
    else:
        holder[last] = step["value"]
    if step.get("recompute_hash"):
        body = {name: value for name, value in receipt.items() if name != HASH}
        receipt[HASH] = hashlib.sha256(canonical_json(body)).hexdigest()


def _policies(scenario: Scenario) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scenario["setup"]["policies"]
    return found


@contextlib.asynccontextmanager
async def _opened(scenario: Scenario, within: str) -> Any:
    action = scenario["action"]
    settings = Settings(poll_seconds=0.01, drain_seconds=0.2, environment=action["target"]["environment"])
    effects: list[dict[str, Any]] = []
    wanted = _tool(scenario, effects)
    definition = _agent(scenario, wanted)
    async with assemble(MemoryJournal(), settings, agents=[definition]) as platform:
        platform.services.policy = Guard(_policy(scenario, wanted.name, within))  # type: ignore[assignment]
        platform.start_worker("boundary")
        yield World(scenario, platform, definition, effects)


async def _submitted(world: World) -> UUID:
    actor = world.scenario["action"]["actor"]
    who = {"behalf": actor["id"]} if actor["type"] == "human" else {"actor": actor["id"]}
    return await world.platform.submit(world.definition, "do it", **who)


def _policy(scenario: Scenario, name: str, within: str) -> PolicySet:
    """The scenario's policy in our language."""
    [said] = _policies(scenario)
    about = '  - name: {}\n    owner: bench\n    reviewed: 2026-11-01\n    reason: "{}"\n'
    rule = about.format(said["name"], f"version {said['version']}")
    limit = said.get("limit")
    if limit is not None and said["rule"] == "escalate":
        under = about.format(f"{said['name']}.under", "small enough")
        under += (
            f"    when: {{tool: {name}, args.{limit['field']}: {{min: 0, max: {limit['max']}}}}}\n    then: allow\n"
        )
        over = f"    when: {{tool: {name}, args.{limit['field']}: {{above: {limit['max']}}}}}\n"
        text = f"{under}{rule}{over}    then: hold\n    approvers: {{count: 1, within: {within}}}\n"
    elif said["rule"] == "require-approval":
        then = f"    then: hold\n    approvers: {{roles: [{TITLE}], within: {within}}}\n"
        text = f"{rule}    when: {{tool: {name}}}\n{then}"
    elif limit is not None:
        bound = f"args.{limit['field']}: {{min: 0, max: {limit['max']}}}"
        text = f"{rule}    when: {{tool: {name}, {bound}}}\n    then: allow\n"
    else:
        text = f"{rule}    when: {{tool: {name}}}\n    then: {said['rule']}\n"
    return PolicySet.compile({"scenario.yaml": f"version: 1\nrules:\n{text}"})


def _tool(scenario: Scenario, effects: list[dict[str, Any]]) -> Any:
    """The scenario's tool: it takes the scenario's arguments, and fails if the scenario says so."""
    action = scenario["action"]
    said = {step["path"]: step["value"] for step in action.get("inject", ()) if step["op"] == "mutate_field"}
    status = said.get("execution.status") if not scenario["expect"].get("failures_must_include") else None
    code = said.get("execution.error_code", "")
    failing = type("Answered", (ToolFailed,), {"code": code})

    async def call(**args: Any) -> str:
        if status == "blocked":
            raise TransientToolError("not found; nothing was done")
        effects.append(args)
        if status == "failure":
            raise failing("the other side failed")
        return "done"

    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Any) for name in action["arguments"]]
    call.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    call.__annotations__ = dict.fromkeys(action["arguments"], Any)
    used = action["tool"]
    labels = {
        "capability": used["capability"],
        "version": used["version"],
        "system": action["target"]["system"],
        "target": action["target"]["resource_id"],
    }
    name = used["capability"].replace(".", "_")
    return tool(name=name, effect="write", permission="auto", in_doubt="idempotent", labels=labels)(call)


def _agent(scenario: Scenario, used: Any) -> Any:
    """A model that asks for the call; or, for people and systems, plain code that makes it."""
    action = scenario["action"]
    args = action["arguments"]
    if action["actor"]["type"] != "agent":

        async def code(run: Run, text: str) -> str:
            assert text
            try:
                return str(await run.call(used, **args))
            except CallDenied:
                return "denied"

        return agent("boundary", version="1")(code)
    call = tool_call(used.name, **args)
    script: list[Any] = [call]
    if scenario["name"].startswith(("29-", "32-")):
        script = [tool_call(used.name, **{**args, "sha": "0000"}), call]
    if scenario["name"].startswith("32-"):
        script[1] = [tool_call(used.name, **{**args, "sha": "1111"}), call]
    return Agent("boundary", model=ScriptedModel([*script, "Done."]), instructions="Do it.", tools=[used])


async def measure(bench: Bench) -> list[Figure]:
    """All scenarios."""
    scenarios: list[Scenario] = json.loads(await asyncio.to_thread(_peer, bench))
    bench.say(f"playing {len(scenarios)} scenarios")
    played = {item["name"]: await play(item) for item in scenarios}
    file = bench.folder / "boundary.json"
    fields = ("decision", "receipt", "arguments", "setup")
    file.write_text(
        json.dumps({name: {part: getattr(item, part) for part in fields} for name, item in played.items()}),
        encoding="utf-8",
    )
    graded = json.loads(await asyncio.to_thread(_peer, bench, str(file)))
    failed = {}
    for item in scenarios:
        name = item["name"]
        why = [*graded["ours"][name], *filter(None, [played[name].refused(item)])]
        if why:
            failed[name] = why
            bench.say(f"{name}: {'; '.join(why)}")
    reference = [name for name, why in graded["reference"].items() if not why]
    total = len(scenarios)
    version = f"agentboundary {PACKAGE.version()}"
    note = f"of {total} of {version}: its own grader, and ours against the record, both; by the authors' reading of "
    note += "the agent governance toolkit's documents it passes 17 (not measured here)"
    rotten = ", ".join(sorted(set(graded["reference"]) - set(reference)))
    theirs = f"the package's own implementation on the same day{'; not ' + rotten if rotten else ''}"
    return [
        Figure(GROUP, "AgentBoundary scenarios passed", total - len(failed), "scenarios", "40", note),
        Figure(GROUP, "reference implementation", len(reference), "scenarios", "", theirs),
    ]


def _peer(bench: Bench, *args: str) -> str:
    PACKAGE.install(bench)
    done = subprocess.run(
        [PACKAGE.python, str(PEER), *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=PEER_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise Unavailable(f"the package failed: {done.stderr.strip()[-300:]}")
    return done.stdout
