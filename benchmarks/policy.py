"""The policy engine: what a decision over 100 rules takes, beside Cedar and the agent governance toolkit in the same
run, and how many of many nonsense calls get past each.

The rules are written for each engine in its own language, and all have to agree on the calls that are timed. The
toolkit's rules have one condition each, so two sets are measured: 100 rules with one condition each about one tool, all
of which must be asked, and 100 rules over 20 tools, as policies are. Ours builds its view of the call within the time.
"""

import asyncio
import gc
import json
import random
import subprocess
import time
from typing import Any

from benchmarks.bench import Bench, Unavailable
from benchmarks.environment import Environment
from benchmarks.figures import Figure, quantile
from benchmarks.policy_fuzz import POLICY, Fuzzed, fuzzed
from benchmarks.served import ROOT
from penstock.rules.policy.explaining import decide_safely
from penstock.rules.policy.measures import Uses
from penstock.rules.policy.policy_set import PolicyCall, PolicySet, use_of
from penstock.rules.verdict import Verdict

GROUP = "Policy"
CEDAR = Environment("policy", "cedarpy")
TOOLKIT = Environment("policy", "agent-os-kernel")
PEER = ROOT / "benchmarks" / "policy_peers.py"
PEER_SECONDS = 600
AIM = "20 µs"
TOOLS = 20
FUZZED, FUZZED_QUICK, FUZZED_PEERS = 100_000, 10_000, 10_000
_HEAD = "    owner: bench\n    reviewed: 2026-11-01\n    reason: it is measured\n"

CEDAR_FUZZ = """
permit (principal, action == Action::"pay", resource) when {
  context.cents >= 1 && context.cents <= 100 && context.to like "*@acme.com"
  && ["USD", "EUR"].contains(context.currency)
};
forbid (principal, action, resource) when { ["KP", "IR", "XX"].contains(context.country) };
forbid (principal, action, resource) when { context.memo like "*forbidden*" };
"""
TOOLKIT_FUZZ = {
    "name": "fuzz",
    "defaults": {"action": "allow"},
    "rules": [
        {"name": name, "condition": {"field": field, "operator": operator, "value": value}, "action": "deny"}
        for name, field, operator, value in (
            ("tool", "tool_name", "ne", "pay"),
            ("low", "cents", "lt", 1),
            ("high", "cents", "gt", 100),
            ("currency", "currency", "not_in", ["USD", "EUR"]),
            ("country", "country", "in", ["KP", "IR", "XX"]),
        )
    ],
}


async def measure(bench: Bench) -> list[Figure]:
    """Decisions timed, then nonsense."""
    rounds = 2 if bench.quick else 10
    chance = random.Random(5)
    one_tool = [{"tool": "pay", "args": {f"n{n}": chance.randrange(1000) for n in range(10)}} for _ in range(1000)]
    many_tools = [
        {
            "tool": f"tool_{chance.randrange(TOOLS)}",
            "args": {"amount": chance.randrange(1, 5000), "currency": "USD", "country": "DE", "to": "ann@acme.com"},
        }
        for _ in range(1000)
    ]
    bench.say(f"{rounds * 1000:,} decisions of each set of 100 rules")
    ours = {
        "one": _took(PolicySet.compile({"one.yaml": _ours_one()}), one_tool, rounds),
        "many": _took(PolicySet.compile({"many.yaml": _ours_many()}), many_tools, rounds),
    }
    figures = [
        _figure("a decision, 100 rules over 20 tools, median", ours["many"], 0.5, AIM),
        _figure("a decision, 100 rules over 20 tools, P99", ours["many"], 0.99),
        _figure("a decision, 100 rules all about the tool, median", ours["one"], 0.5, AIM),
        _figure("a decision, 100 rules all about the tool, P99", ours["one"], 0.99),
    ]
    nonsense = [{"tool": call.tool, "args": call.args} for call in _for_peers()]
    tasks: dict[str, Any] = {
        "one": {"cedar": _cedar_one(), "toolkit": _toolkit_one(), "calls": one_tool, "rounds": rounds},
        "many": {"cedar": _cedar_many(), "calls": many_tools, "rounds": rounds},
        "fuzz": {"cedar": CEDAR_FUZZ, "toolkit": TOOLKIT_FUZZ, "calls": nonsense, "rounds": 1},
    }
    try:
        peers = await asyncio.to_thread(_peers, bench, tasks)
    except Unavailable as error:
        bench.say(f"no peers: {error}")
        peers = {}
    return figures + _beside(peers, ours) + _nonsense(bench, peers)


def _beside(peers: dict[str, Any], ours: dict[str, list[int]]) -> list[Figure]:
    figures = []
    for name, words in (("many", "100 rules over 20 tools"), ("one", "100 rules all about the tool")):
        for peer, answer in peers.get(name, {}).items():
            assert all(answer["said"]), f"{peer} disagrees about calls that may go"
            took, note = answer["took"], _NOTES[peer]()
            figures.append(_figure(f"{peer}: {words}, median", took, 0.5, note=note))
            ratio = quantile(took, 0.5) / quantile(ours[name], 0.5)
            figures.append(Figure(GROUP, f"{peer} takes, {words}", ratio, "times as long", "", "same run, medians"))
    return figures


_NOTES = {
    "cedar": lambda: f"cedarpy {CEDAR.version()}, policies and entities parsed beforehand",
    "toolkit": lambda: f"agent-os-kernel {TOOLKIT.version()}, its decision with an audit entry",
}


_NONSENSE = {
    "cedar": "no schema; a forbid that errs is skipped, as Cedar specifies",
    "toolkit": "rules of one condition each that deny, over a default of allow",
}


def _nonsense(bench: Bench, peers: dict[str, Any]) -> list[Figure]:
    count = FUZZED_QUICK if bench.quick else FUZZED
    bench.say(f"{count:,} nonsense calls")
    made = PolicySet.compile({"fuzz.yaml": POLICY})
    past = strict = good = 0
    for call in fuzzed(11, count):
        goes = decide_safely(made, _asked(made, call)).verdict <= Verdict.FLAG
        if call.effect == "read":
            continue  # reads go unless a rule says otherwise
        past += goes and not call.may_go
        strict += call.may_go and not goes
        good += call.may_go
    said = f"of {count:,}; {good:,} of them may go"
    figures = [
        Figure(GROUP, "nonsense calls that got past", past, "calls", "0", said),
        Figure(GROUP, "good calls held back", strict, "calls", "0", said),
    ]
    spoiled = list(_for_peers())
    for peer, answer in peers.get("fuzz", {}).items():
        through = sum(goes and not _peer_may(call) for goes, call in zip(answer["said"], spoiled, strict=True))
        figures.append(
            Figure(
                GROUP,
                f"{peer}: nonsense calls that got past",
                through,
                "calls",
                "",
                f"of {len(spoiled):,}, against amount, currency and country; {_NONSENSE[peer]}",
            )
        )
    return figures


def _for_peers() -> list[Fuzzed]:
    """Those that can be put to engines that know tools and arguments only, and that JSON can carry."""
    return [
        call
        for call in fuzzed(11, FUZZED_PEERS)
        if type(call.tool) is str and type(call.args) is dict and "\ud800" not in call.args.values()
    ]


def _peer_may(call: Fuzzed) -> bool:
    """What the peers' rules are meant to say: less than ours, for they are asked about less."""
    args = call.args
    cents, currency, country = (args.get(name) for name in ("cents", "currency", "country"))
    number = type(cents) in (int, float) and 1 <= cents <= 100
    named = type(currency) is str and currency in ("USD", "EUR")
    known = type(country) is str and country not in ("KP", "IR", "XX")
    return call.tool == "pay" and number and named and known


def _peers(bench: Bench, tasks: dict[str, Any]) -> dict[str, Any]:
    CEDAR.install(bench)
    file = bench.folder / "policy-peers.json"
    file.write_text(json.dumps(tasks), encoding="utf-8")
    bench.say("the same for the peers")
    done = subprocess.run(
        [CEDAR.python, str(PEER), str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PEER_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise Unavailable(f"the peers failed: {done.stderr.strip()[-300:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _took(policy: PolicySet, calls: list[dict[str, Any]], rounds: int) -> list[int]:
    took = []
    gc.collect()
    for _ in range(rounds):
        for call in calls:
            begun = time.perf_counter_ns()
            decision = policy.decide(PolicyCall(call["tool"], args=call["args"]))
            took.append(time.perf_counter_ns() - begun)
            assert decision.verdict is Verdict.ALLOW
    return took


def _figure(name: str, took: list[int], share: float, aim: str = "", note: str = "") -> Figure:
    return Figure(GROUP, name, quantile(took, share) / 1000, "µs", aim, note or f"{len(took):,} decisions")


def _asked(made: PolicySet, call: Fuzzed) -> PolicyCall:
    uses = Uses()
    for number, args in enumerate(call.before):
        uses.add(str(number), use_of("pay", args, 0, made.paths))
    return PolicyCall(
        call.tool, call.effect, call.risk, call.args, tags=call.tags, taint=call.taint, uses=uses, path="now"
    )


def _rule(name: str, then: str, when: str) -> str:
    return f"  - name: {name}\n{_HEAD}    when: {when}\n    then: {then}\n"


def _ours_one() -> str:
    rules = [_rule("go", "allow", "{tool: pay}")]
    rules += [_rule(f"r{n}", "deny", f"{{tool: pay, args.n{n % 10}: {{above: {1000 + n}}}}}") for n in range(1, 100)]
    return "version: 1\nrules:\n" + "".join(rules)


def _cedar_one() -> str:
    rules = ['permit (principal, action == Action::"pay", resource);']
    rules += [
        f'forbid (principal, action == Action::"pay", resource) when {{ context.n{n % 10} > {1000 + n} }};'
        for n in range(1, 100)
    ]
    return "\n".join(rules)


def _toolkit_one() -> dict[str, Any]:
    rules = [
        {
            "name": f"r{n}",
            "condition": {"field": f"n{n % 10}", "operator": "gt", "value": 1000 + n},
            "action": "deny",
        }
        for n in range(1, 100)
    ]
    go = {"name": "go", "condition": {"field": "tool_name", "operator": "eq", "value": "pay"}, "action": "allow"}
    return {"name": "one", "defaults": {"action": "deny"}, "rules": [*rules, go]}


def _ours_many() -> str:
    rules = []
    for n in range(TOOLS):
        tool = f"tool: tool_{n}"
        rules += [
            _rule(f"go-{n}", "allow", f"{{{tool}, args.amount: {{max: 5000}}, args.currency: [USD, EUR]}}"),
            _rule(f"far-{n}", "deny", f"{{{tool}, args.country: [KP, IR]}}"),
            _rule(f"much-{n}", "deny", f"{{{tool}, args.amount: {{above: 100000}}}}"),
            _rule(f"more-{n}", "deny", f"{{{tool}, args.amount: {{above: 50000}}, args.currency: USD}}"),
            _rule(f"out-{n}", "deny", f"{{{tool}, args.to: {{ends_with: '@evil.example'}}}}"),
        ]
    return "version: 1\nrules:\n" + "".join(rules)


def _cedar_many() -> str:
    rules = []
    for n in range(TOOLS):
        scope = f'(principal, action == Action::"tool_{n}", resource)'
        rules += [
            f'permit {scope} when {{ context.amount <= 5000 && ["USD", "EUR"].contains(context.currency) }};',
            f'forbid {scope} when {{ ["KP", "IR"].contains(context.country) }};',
            f"forbid {scope} when {{ context.amount > 100000 }};",
            f'forbid {scope} when {{ context.amount > 50000 && context.currency == "USD" }};',
            f'forbid {scope} when {{ context.to like "*@evil.example" }};',
        ]
    return "\n".join(rules)
