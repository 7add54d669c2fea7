"""Calls that try to get past a policy, and an oracle that knows which of them may go.

The policy is one of payments. The oracle is written by itself, from what the rules are meant to say: it shares no code
with the engine. A call that goes although the oracle says no is *fail-open*; one that is held or denied although it may
go is *over-strict*, and counts as well, for an engine that denies everything fails open nowhere.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

POLICY = """
version: 1
rules:
  - name: pay-colleagues
    owner: bench
    reviewed: 2026-11-01
    reason: Small amounts to our own people.
    when:
      tool: pay
      risk: [low, medium]
      args.cents: {min: 1, max: 100}
      args.to: {matches: '[a-z]{1,20}@acme\\.com'}
      args.currency: [USD, EUR]
      args.memo: {length: {max: 40}}
      tags.tier: gold
    then: allow
  - name: sanctioned
    owner: bench
    reviewed: 2026-11-01
    reason: Nothing goes there.
    when: {effect: write, args.country: [KP, IR, XX]}
    then: deny
  - name: enough
    owner: bench
    reviewed: 2026-11-01
    reason: A run pays no more than this.
    when: {tool: pay, sum(args.cents) over pay: {above: 150}}
    then: deny
  - name: strangers
    owner: bench
    reviewed: 2026-11-01
    reason: Nothing is paid on a stranger's word.
    when: {tool: pay, taint: any}
    then: hold
"""
TO = re.compile(r"[a-z]{1,20}@acme\.com")


@dataclass(slots=True)
class Fuzzed:
    """A call, the calls before it in its run, and whether it may go."""

    tool: Any
    effect: Any
    risk: Any
    args: Any
    tags: dict[str, Any]
    taint: dict[str, str]
    before: list[Any]
    approved: bool

    @property
    def may_go(self) -> bool:
        """What the rules are meant to say."""
        args: Any = self.args
        tags = self.tags
        if self.tool != "pay" or self.effect != "write" or self.risk not in ("low", "medium"):
            return False
        if type(args) is not dict or self.taint or tags.get("tier") != "gold":
            return False
        amounts: list[Any] = [one.get("cents") if type(one) is dict else None for one in [*self.before, args]]
        if not all(_is_number(amount) for amount in amounts) or sum(amounts) > 150:
            return False
        to: Any = args.get("to")
        memo: Any = args.get("memo")
        country: Any = args.get("country")
        texts = type(to) is str and type(memo) is str and type(country) is str
        if not texts or args.get("currency") not in ("USD", "EUR") or type(args["currency"]) is not str:
            return False
        good = 1 <= args["cents"] <= 100 and len(memo) <= 40 and country not in ("KP", "IR", "XX")
        return good and TO.fullmatch(to) is not None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < float("inf")


NASTY: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    10**30,
    -(10**30),
    2**53 + 1,
    0.1,
    100.0000001,
    "",
    "5",
    "NaN",
    "100",
    " USD",
    "usd",
    "KP",
    "kp",
    "KP\x00",
    "ann@acme.com",
    "ann@acme.com\n",
    "ann@acme.com.evil.example",
    "eve@evil.example,ann@acme.com",
    "ANN@acme.com",
    "аnn@acme.com",  # a Cyrillic а
    "a" * 30 + "@acme.com",
    "a" * 50_000,
    "\u202eann@acme.com",
    "\ud800",
    [],
    [5],
    ["KP"],
    ["ann@acme.com"],
    {},
    {"min": 1},
    {"is": "USD"},
    {"$gt": ""},
    [[[[[[]]]]]],
    {"__class__": "int"},
)
FIELDS = ("cents", "to", "currency", "memo", "country")


def good(chance: random.Random) -> Fuzzed:
    """A call that may go."""
    args = {
        "cents": chance.choice([1, 5, 99, 100, 12.5]),
        "to": chance.choice(["ann@acme.com", "bob@acme.com"]),
        "currency": chance.choice(["USD", "EUR"]),
        "memo": chance.choice(["", "lunch", "x" * 40]),
        "country": chance.choice(["DE", "US", ""]),
    }
    return Fuzzed("pay", "write", chance.choice(["low", "medium"]), args, {"tier": "gold"}, {}, [], approved=False)


def fuzzed(seed: int, count: int) -> Iterator[Fuzzed]:
    """So many calls; the same for the same seed. About one in twelve may go."""
    chance = random.Random(seed)
    for _ in range(count):
        call = good(chance)
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            _spoil(call, chance)
        yield call


def _spoil(call: Fuzzed, chance: random.Random) -> None:
    args = call.args
    match chance.randrange(10):
        case 0 | 1 | 2 | 3 if type(args) is dict:
            args[chance.choice(FIELDS)] = chance.choice(NASTY)
        case 4 if type(args) is dict:
            args.pop(chance.choice(FIELDS), None)
        case 5:
            call.before = [
                chance.choice([{"cents": chance.choice([10, 51, 140, *NASTY])}, {}, None, "x"])
                for _ in range(chance.randrange(1, 4))
            ]
        case 6:
            call.tags = chance.choice([{}, {"tier": "Gold"}, {"tier": ""}, {"tier": None}, {"tier": ["gold"]}])
        case 7:
            call.taint = {"web": "untrusted"}
        case 8:
            name = chance.choice(["tool", "effect", "risk"])
            setattr(
                call,
                name,
                chance.choice(["", "PAY", "pay ", "pay\x00", "high", "prohibited", "read", None, 5, ["pay"]]),
            )
        case 9:
            call.args = chance.choice([args, None, [], "x", 5, [args], {"args": args}])
        case _:
            pass
