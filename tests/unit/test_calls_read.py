"""Reading what was paid off a run's events: calls of tools that cost nothing are passed over where nobody asks."""

from uuid import UUID

from penstock.events import Amount, Event, ModelIntent, ModelOutcome, RunEnded, ToolIntent, ToolOutcome, encode
from penstock.journal.calls import CallReader
from penstock.ports.records import Row
from penstock.runs.usage import RunSpending

RUN = UUID(int=1)


def rows(*events: Event) -> list[Row]:
    return [Row(place, encode(event), b"") for place, event in enumerate(events, 1)]


def intent(path: str, reserved: Amount | None = None, tags: dict[str, str] | None = None) -> ToolIntent:
    made = ToolIntent(tenant="t", run=RUN, agent="a", path=path, tool="search", digest="d", tags=tags or {})
    made.reserved = made.reserved if reserved is None else reserved
    return made


def outcome(path: str, used: Amount | None = None) -> ToolOutcome:
    made = ToolOutcome(tenant="t", run=RUN, agent="a", path=path)
    made.used = made.used if used is None else used
    return made


TAPE = rows(
    ModelIntent(tenant="t", run=RUN, agent="a", path="0", model="m", digest="d", tags={"kind": "tool.none"}),
    ModelOutcome(tenant="t", run=RUN, agent="a", path="0", used=Amount(3, 2, 50)),
    intent("1", tags={'"used":{': '"reserved":{'}),
    outcome("1"),
    intent("2", Amount(nano=9)),
    outcome("2", Amount(nano=7)),
    intent("3"),
    outcome("3", Amount(nano=5)),
    intent("4", Amount(nano=11)),
    intent("5"),
    RunEnded(tenant="t", run=RUN, agent="a", outcome="succeeded", tags={"kind": "tool.none"}),
)


def test_only_free_calls_of_tools_are_passed_over() -> None:
    every, paid = CallReader().take(TAPE), CallReader(free_tools=False).take(TAPE)
    assert [(call.path, call.used.nano) for call in every] == [
        ("0", 50),
        ("1", 0),
        ("2", 7),
        ("3", 5),
        ("4", 11),
        ("5", 0),
    ]
    assert [call.used.nano for call in paid if call.used.nano] == [50, 7, 5, 11]


def test_what_is_summed_up_is_the_same() -> None:
    every, paid = RunSpending(reader=CallReader()), RunSpending()
    every.take(TAPE)
    paid.take(TAPE)
    assert paid.parts == every.parts
    assert sum(spent.used.nano for spent in paid.parts.values()) == 73
    assert paid.reader.is_whole
