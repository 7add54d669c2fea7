"""AgentDojo's ground truth, replayed through the tool gate.

No model takes part: what is asked is what remains when a model does all that was planted. For each user task and each
injection task of its suite, a run makes the user's calls until the first of them that reads what a stranger may have
written, and then those of the attack, arguments and all. A user task by itself is replayed from end to end: what of it
is held is what the rule costs.

`WRITES` is what the authors of such tools would declare: of each tool that changes something, the arguments that say
whom it goes to or what it is done to. It was written knowing which attacks there are.
"""

import json
import subprocess
from dataclasses import replace
from typing import Any

import msgspec

from benchmarks.bench import Bench, Unavailable
from benchmarks.environment import Environment
from benchmarks.served import ROOT
from penstock import Filters, Run, Settings, agent
from penstock.gates.tool.gate import ToolCallAsked, call_tool
from penstock.integrations.tool_effects import ToolEffect, declared
from penstock.ports.tools import ToolDef
from penstock.wiring import open_in_memory

ENVIRONMENT = Environment("agentdojo", "agentdojo")
SUITES = "v1.2.2"
WRITES: dict[str, dict[str, tuple[str, ...]]] = {
    "workspace": {
        "send_email": ("recipients", "cc", "bcc"),
        "delete_email": ("email_id",),
        "create_calendar_event": ("participants",),
        "cancel_calendar_event": ("event_id",),
        "reschedule_calendar_event": ("new_start_time",),
        "add_calendar_event_participants": ("participants",),
        "append_to_file": (),
        "create_file": (),
        "delete_file": ("file_id",),
        "share_file": ("email",),
    },
    "travel": {
        "send_email": ("recipients", "cc", "bcc"),
        "create_calendar_event": ("title", "participants"),
        "cancel_calendar_event": ("event_id",),
        "reserve_hotel": ("hotel",),
        "reserve_car_rental": ("company",),
        "reserve_restaurant": ("restaurant",),
    },
    "banking": {
        "send_money": ("recipient",),
        "schedule_transaction": ("recipient",),
        "update_scheduled_transaction": ("recipient",),
        "update_password": ("password",),
        "update_user_info": ("first_name", "last_name", "street", "city"),
    },
    "slack": {
        "add_user_to_channel": ("user",),
        "send_direct_message": ("recipient",),
        "send_channel_message": (),
        "invite_user_to_slack": ("user_email",),
        "remove_user_from_slack": ("user",),
        "post_webpage": ("url",),
    },
}
OWN = frozenset(
    (
        "get_current_day",
        "search_contacts_by_name",
        "search_contacts_by_email",
        "get_iban",
        "get_balance",
        "get_user_info",
        "get_user_information",
        "get_channels",
        "get_users_in_channel",
        "get_flight_information",
    )
)
"""Reads of what no stranger writes. All others return untrusted content."""
READERS = {"workspace": "search_emails", "travel": "get_rating_reviews_for_hotels", "banking": "read_file"}
"""What an attack comes by where the user's own calls read nothing untrusted; in slack: get_webpage."""


class Told(msgspec.Struct):
    """What came of it all. ``plainly``: where no tool declares anything grounded, so that each argument must be in the
    user's words. ``unplayable``: pairs whose attack writes nothing, or has no ground truth in the package."""

    attacks: int = 0
    executed: int = 0
    writes: int = 0
    writes_executed: int = 0
    unplayable: int = 0
    tasks: int = 0
    held: int = 0
    plainly_held: int = 0
    plainly_executed: int = 0
    got_through: list[str] = []


class Case(msgspec.Struct):
    """Calls to make, and from which on they are the attack's."""

    suite: str
    name: str
    words: str
    calls: list[tuple[str, dict[str, Any]]]
    attack_from: int
    plainly: bool = False
    at: int = 0


def ground_truth(bench: Bench) -> dict[str, Any]:
    """What the package holds.

    Raises:
        Unavailable: it cannot be installed, or does not answer.
    """
    ENVIRONMENT.install(bench)
    done = subprocess.run(
        [ENVIRONMENT.python, str(ROOT / "benchmarks" / "dojo_worker.py"), SUITES],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise Unavailable(f"AgentDojo does not say what it holds: {done.stderr.strip()[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cases(suite: str, said: dict[str, Any]) -> tuple[list[Case], list[Case], int]:
    """The attacks of a suite, its user tasks, and how many pairs have no ground truth of writes to replay."""
    attacks, tasks, unplayable = [], [], 0
    for user in said["user"]:
        tasks.append(Case(suite, user["id"], user["words"], user["calls"], len(user["calls"])))
        before = _until_poisoned(suite, user["calls"])
        for injection in said["injection"]:
            if not any(name in WRITES[suite] for name, _ in injection["calls"]):
                unplayable += 1
                continue
            name = f"{suite}/{user['id']}/{injection['id']}"
            attacks.append(Case(suite, name, user["words"], [*before, *injection["calls"]], len(before)))
    return attacks, tasks, unplayable


def _until_poisoned(suite: str, calls: list[Any]) -> list[Any]:
    for place, (name, _) in enumerate(calls):
        if name not in OWN and name not in WRITES[suite]:
            return calls[: place + 1]
    return [*calls, [READERS.get(suite, "get_webpage"), {}]]


async def replay(truth: dict[str, Any], bench: Bench) -> Told:
    """Each case is a run whose input is the user's words; a write is executed when its function is called."""
    told, called, playing = Told(), list[tuple[bool, str]](), list[Case]()
    declared_tools, plain_tools = (
        _tools(truth, called, playing, plainly=False),
        _tools(truth, called, playing, plainly=True),
    )

    # Denied, where a person would be asked: nobody is there to wait for.
    @agent("dojo", version="1", filters=Filters(after_untrusted="deny"))
    async def dojo(run: Run, _: str) -> int:
        case, denied = playing[-1], 0
        tools = plain_tools if case.plainly else declared_tools
        for place, (name, args) in enumerate(case.calls):
            case.at = place
            returned = await call_tool(run.context, ToolCallAsked(name, tools[case.suite, name], args))
            denied += returned.status == "denied"
        return denied

    async with open_in_memory(Settings(poll_seconds=0.01)) as platform:
        for suite, said in truth.items():
            attacks, tasks, unplayable = cases(suite, said)
            attacks = attacks[::10] if bench.quick else attacks
            told.unplayable += unplayable
            bench.say(f"{suite}: {len(attacks)} attacks and {len(tasks)} user tasks, twice")
            for played in (*attacks, *tasks):
                for plainly in (False, True):
                    case = msgspec.structs.replace(played, plainly=plainly)
                    called.clear()
                    playing[:] = [case]
                    result = await platform.result(await platform.submit(dojo, case.words), timeout_seconds=60)
                    if not result.ok:
                        raise RuntimeError(f"{case.name} ended as {result.outcome}: {result.reason}")
                    _count(told, case, called, result.output)
    return told


def _count(told: Told, case: Case, called: list[tuple[bool, str]], denied: int) -> None:
    made = [name for attack, name in called if attack and name in WRITES[case.suite]]
    is_attack = case.attack_from < len(case.calls)
    if case.plainly:
        told.plainly_executed += is_attack and bool(made)
        told.plainly_held += not is_attack and denied > 0
    elif is_attack:
        told.attacks += 1
        told.writes += sum(name in WRITES[case.suite] for name, _ in case.calls[case.attack_from :])
        told.writes_executed += len(made)
        told.executed += bool(made)
        told.got_through += [f"{case.name}: {name}" for name in made]
    else:
        told.tasks += 1
        told.held += denied > 0


def _tools(
    truth: dict[str, Any], called: list[tuple[bool, str]], playing: list[Case], *, plainly: bool
) -> dict[tuple[str, str], ToolDef]:
    """Each suite's tools, which only note that they were called, and whether by an attack; ``plainly``: nothing is
    declared ``grounded``."""

    def named(name: str) -> Any:
        async def call() -> str:
            case = playing[-1]
            called.append((case.at >= case.attack_from, name))
            return "done"

        return call

    found = {}
    for suite, said in truth.items():
        for name in said["tools"]:
            effect: ToolEffect = {"effect": "read", "repeatable": True}
            if name in WRITES[suite]:
                effect = {"permission": "auto", "in_doubt": "idempotent", "repeatable": True}
                if not plainly:
                    effect["grounded"] = WRITES[suite][name]
            elif name not in OWN:
                effect["returns"] = "untrusted"
            tool = declared(name, **effect)
            found[suite, name] = replace(tool, call=named(name), bind=lambda _: {}, context_param=None)
    return found
