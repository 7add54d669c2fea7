"""Made-up runs for measuring the detector of spirals: kinds that go round in circles, and honest long ones.

What was tuned on what: the kinds ``SPIRALS_SEEN`` and ``HONEST_SEEN``, with the seeds below `SEEDS_SEEN`, were looked
at while the detector and its thresholds were made. The others were written down before the first measurement on them;
on them, and on all other seeds, it is only measured.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock.kernel.canonical import digest
from penstock.rules.past import PastCall
from penstock.rules.sketch import facts_of, shape_of, words_of

KEY = b"a key of nobody's, for measuring"
SEEDS_SEEN = 100
_TEXT = """
account balance card charge city client code country credit currency date delay delivery department
discount invoice item letter limit merchant number office order parcel payment person phone plan
price product quantity rate reason receipt refund region request reserve return route sale service
ship stock store street supply tax ticket total transfer travel trip unit value visit warehouse week
weight year zone
"""
WORDS = _TEXT.split()


@dataclass(slots=True)
class Step:
    """A call with what came back. ``pause``: seconds before it in which nobody worked. ``text``: the model's words."""

    name: str
    args: dict[str, Any]
    result: Any = None
    ok: bool = True
    write: bool = False
    refused: bool = False
    pause: float = 0.0
    text: str = ""
    heard: bool = False
    same_turn: bool = False


@dataclass(slots=True)
class Case:
    """A run. ``begins``: the number, from 1, of the first call that only repeats; 0 = an honest run."""

    kind: str
    seed: int
    steps: list[Step]
    begins: int = 0
    repeatable: frozenset[str] = field(default_factory=frozenset)

    def calls(self) -> Iterator[PastCall]:
        """The steps as the detector takes them. A model takes three seconds; a prompt grows by what was said."""
        at = busy = turn = 0
        prompt = 500
        said = ""
        for number, step in enumerate(self.steps, 1):
            if not step.same_turn:
                turn += 1
                busy += 3_000_000
                at += 3_000_000
                said = words_of(step.text, KEY)
            at += int(step.pause * 1e6) + 50_000
            data = b"" if step.result is None else json.dumps(step.result, sort_keys=True).encode()
            prompt += (len(data) + len(step.text) + len(json.dumps(step.args))) // 4
            yield PastCall(
                step.name,
                digest([step.name, step.args]),
                step.ok,
                result=digest(step.result) if data and step.ok else "",
                refused=step.refused,
                path=str(number),
                shape=shape_of(step.args, KEY),
                facts=facts_of(data, KEY) if step.ok else "",
                failure="" if step.ok or step.refused else str(step.result),
                write=step.write,
                repeatable=step.name in self.repeatable,
                at=at,
                busy=busy,
                turn=turn,
                said=said,
                prompt=prompt,
                nano=turn * 1_000_000,
                heard=step.heard,
            )


Draw = random.Random
Maker = Callable[[Draw], tuple[list[Step], int]]


def _phrase(draw: Draw, count: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(count))


def _record(draw: Draw, number: int) -> dict[str, Any]:
    return {
        "id": f"r-{number}",
        "name": _phrase(draw, 2),
        "amount": draw.randrange(1, 100_000),
        "currency": "EUR",
        "status": draw.choice(["open", "paid", "late"]),
        "note": _phrase(draw, 6),
    }


def _work(draw: Draw, count: int) -> list[Step]:
    """Honest reads to begin with."""
    start = draw.randrange(1000)
    return [
        Step("get_record", {"record_id": f"r-{start + n}"}, _record(draw, start + n), text=_phrase(draw, 8))
        for n in range(count)
    ]


def _stuck(draw: Draw) -> tuple[list[Step], int]:
    """The same read again and again."""
    work = _work(draw, draw.randint(1, 6))
    again = [Step(work[-1].name, work[-1].args, work[-1].result, text=_phrase(draw, 9)) for _ in range(20)]
    return work + again, len(work) + 1


def _wandering(draw: Draw) -> tuple[list[Step], int]:
    """Searches with other words that find the same pages."""
    work = _work(draw, draw.randint(1, 4))
    pages = [{"title": _phrase(draw, 3), "text": _phrase(draw, 30)} for _ in range(4)]
    topic = _phrase(draw, 2)
    steps = []
    for _ in range(20):
        found = draw.sample(pages, draw.randint(2, 4))
        steps.append(Step("search", {"query": f"{topic} {_phrase(draw, 2)}"}, {"pages": found}, text=_phrase(draw, 9)))
    return work + steps, len(work) + 3


def _failing(draw: Draw) -> tuple[list[Step], int]:
    """One write after another that fails in the same words."""
    work = _work(draw, draw.randint(1, 4))
    words = f"invalid {_phrase(draw, 3)}"
    steps = [
        Step("update", {"id": "r-1", "field": _phrase(draw, 1), "value": n}, words, ok=False, write=True)
        for n in range(20)
    ]
    return work + steps, len(work) + 2


def _alternating(draw: Draw) -> tuple[list[Step], int]:
    """Two reads in turn, whose answers differ in a time and a request id alone."""
    work = _work(draw, draw.randint(2, 5))
    one, other = work[-2], work[-1]
    steps = []
    for n in range(24):
        base = one if n % 2 == 0 else other
        result = {**base.result, "fetched_at": f"2026-03-01T10:{n:02d}:11Z", "request_id": f"{draw.random()}"}
        steps.append(Step(base.name, base.args, result, text=_phrase(draw, 9)))
    return work + steps, len(work) + 1


def _starting_over(draw: Draw) -> tuple[list[Step], int]:
    """Three to six pages read from the first again each time they are through."""
    count = draw.randint(3, 6)
    pages = [
        Step("list_page", {"page": n, "size": 5}, {"rows": [_record(draw, 10 * n + k) for k in range(5)]})
        for n in range(count)
    ]
    steps = [
        Step(page.name, page.args, page.result, text="Let me look at all of them.") for _ in range(6) for page in pages
    ]
    return steps, count + 1


def _rewording(draw: Draw) -> tuple[list[Step], int]:
    """The same message sent again with some words changed."""
    work = _work(draw, draw.randint(1, 4))
    words = _phrase(draw, 26).split()
    steps = []
    for _ in range(16):
        text = list(words)
        text[draw.randrange(len(text))] = draw.choice(WORDS)
        send = Step("send_reply", {"customer": "c-7", "text": " ".join(text)}, {"sent": True}, write=True)
        steps.append(send)
    return work + steps, len(work) + 2


def _other_tools(draw: Draw) -> tuple[list[Step], int]:
    """Several tools in any order, each of which tells a part of what is known."""
    record = _record(draw, 5)
    work = [*_work(draw, 2), Step("get_record", {"record_id": "r-5"}, record)]
    steps = []
    for _ in range(20):
        names = draw.sample(sorted(record), 3)
        tool = draw.choice(["check_status", "read_fields", "get_summary", "verify_record"])
        steps.append(Step(tool, {"id": "r-5", "fields": names}, {name: record[name] for name in names}))
    return work + steps, len(work) + 1


def _refused(draw: Draw) -> tuple[list[Step], int]:
    """What a rule refuses, asked for with other arguments each time."""
    work = _work(draw, draw.randint(1, 5))
    steps = [
        Step("pay", {"to": _phrase(draw, 1), "cents": draw.randrange(10_000)}, ok=False, refused=True, write=True)
        for _ in range(16)
    ]
    return work + steps, len(work) + 2


def _dripping(draw: Draw) -> tuple[list[Step], int]:
    """A list asked for with one row more each time."""
    rows = [_record(draw, n) for n in range(60)]
    work = _work(draw, 1)
    steps = [
        Step("list_rows", {"id": "x", "limit": 10 + n}, {"rows": rows[: 10 + n]}, text=_phrase(draw, 9))
        for n in range(24)
    ]
    return work + steps, len(work) + 3


def _with_crumbs(draw: Draw) -> tuple[list[Step], int]:
    """The same read again and again, with something new each fourth time from elsewhere."""
    work = _work(draw, 3)
    steps = []
    for n in range(32):
        if n % 4 == 3:
            steps.append(Step("get_record", {"record_id": f"r-9{n}"}, _record(draw, 900 + n)))
        else:
            steps.append(Step(work[0].name, work[0].args, work[0].result))
    return work + steps, len(work) + 1


def _new_but_useless(draw: Draw) -> tuple[list[Step], int]:
    """Searches that always find other pages, none of which is about the matter."""
    work = _work(draw, 2)
    steps = [
        Step("search", {"query": _phrase(draw, 3)}, {"pages": [{"text": _phrase(draw, 20)} for _ in range(3)]})
        for _ in range(24)
    ]
    return work + steps, len(work) + 4


def _paging(draw: Draw) -> tuple[list[Step], int]:
    """A list of 40 pages by cursor; the words of each step are the same."""
    steps = []
    cursor = ""
    for n in range(40):
        after = f"c{draw.randrange(10**9)}"
        rows = [_record(draw, 10 * n + k) for k in range(5)]
        args = {"cursor": cursor, "size": 5}
        steps.append(Step("list_page", args, {"rows": rows, "next": after}, text="The next page."))
        cursor = after
    return steps, 0


def _batch(draw: Draw) -> tuple[list[Step], int]:
    """Forty records: read each, then mark it as checked; every write answers the same."""
    steps = []
    for n in range(40):
        steps.append(Step("get_record", {"record_id": f"r-{n}"}, _record(draw, n), text="Now I read the record."))
        note = "checked, nothing unusual was found in this record"
        steps.append(Step("mark", {"record_id": f"r-{n}", "note": note}, {"ok": True}, write=True))
    return steps, 0


def _polling(draw: Draw) -> tuple[list[Step], int]:
    """A slow job, asked about after pauses that grow; then its result."""
    steps = [Step("start_job", {"kind": "export"}, {"job": "j-1"}, write=True)]
    pause = draw.uniform(2.0, 5.0)
    for _ in range(14):
        steps.append(
            Step("job_status", {"job": "j-1"}, {"job": "j-1", "state": "running"}, pause=pause, text="Not yet.")
        )
        pause *= draw.uniform(1.4, 2.0)
    return [*steps, Step("job_result", {"job": "j-1"}, {"rows": [_record(draw, n) for n in range(9)]})], 0


def _polling_with_wait(draw: Draw) -> tuple[list[Step], int]:
    """The same with a tool that waits: both answer the same each time."""
    steps = [Step("start_job", {"kind": "export"}, {"job": "j-1"}, write=True)]
    pause = draw.uniform(2.0, 4.0)
    for _ in range(8):
        steps.append(Step("wait", {"seconds": round(pause)}, "done waiting", pause=pause))
        steps.append(Step("job_status", {"job": "j-1"}, {"job": "j-1", "state": "running"}))
        pause *= 1.6
    return [*steps, Step("job_result", {"job": "j-1"}, {"rows": [_record(draw, n) for n in range(9)]})], 0


def _progressing(draw: Draw) -> tuple[list[Step], int]:
    """A job asked about without any pause, whose answer says how far it is."""
    steps = [Step("start_job", {"kind": "export"}, {"job": "j-1"}, write=True)]
    status = {"job": "j-1", "kind": "export", "owner": "me", "state": "running", "queue": "main"}
    done = 0
    while done < 100:
        done += draw.randint(3, 9)
        steps.append(Step("job_status", {"job": "j-1"}, {**status, "percent": min(done, 100)}))
    return steps, 0


def _same_answers(draw: Draw) -> tuple[list[Step], int]:
    """Thirty messages to thirty people, each acknowledged in the same words."""
    steps = []
    for n in range(30):
        text = f"Dear {_phrase(draw, 2)}, your order has left our house today and will be with you within three days."
        steps.append(Step("send", {"to": f"p-{n}", "text": text}, "queued", write=True, text="And the next one."))
    return steps, 0


def _sparse_search(draw: Draw) -> tuple[list[Step], int]:
    """Dates tried one after the other; most have nothing, three in a row at most."""
    steps = []
    empty = 0
    for n in range(30):
        nothing = empty < 3 and draw.random() < 0.5
        empty = empty + 1 if nothing else 0
        found: list[Any] = [] if nothing else [_record(draw, 10 * n + k) for k in range(2)]
        steps.append(Step("find_free", {"from": "A", "to": "B", "day": n}, found))
    return steps, 0


def _debugging(draw: Draw) -> tuple[list[Step], int]:
    """Edits and test runs; a run often fails, with fewer and other failures each time."""
    steps = []
    for n in range(15):
        steps.append(Step("edit", {"file": f"f{n % 3}.py", "text": _phrase(draw, 20)}, "saved", write=True))
        failures = [
            f"test_{draw.choice(WORDS)}_{draw.randrange(99)} failed in line {draw.randrange(500)}" for _ in range(4)
        ]
        steps.append(Step("run_tests", {"folder": "tests"}, {"failed": failures, "passed": 80 + n}))
    return steps, 0


def _similar_records(draw: Draw) -> tuple[list[Step], int]:
    """Thirty items of one make, which differ in their number and one figure of eight."""
    common = {"make": "A1", "colour": "red", "size": "L", "origin": "DE", "unit": "piece", "tax": 19}
    return [
        Step("get_item", {"item_id": f"i-{n}"}, {**common, "id": f"i-{n}", "stock": draw.randrange(1, 10**6)})
        for n in range(30)
    ], 0


SPIRALS_SEEN: dict[str, Maker] = {"stuck": _stuck, "wandering": _wandering, "failing": _failing}
SPIRALS_HELD: dict[str, Maker] = {
    "alternating": _alternating,
    "starting over": _starting_over,
    "rewording": _rewording,
    "other tools": _other_tools,
    "refused": _refused,
    "dripping": _dripping,
    "with crumbs": _with_crumbs,
    "new but useless": _new_but_useless,
}
HONEST_SEEN: dict[str, Maker] = {"paging": _paging, "batch": _batch, "polling": _polling}
HONEST_HELD: dict[str, Maker] = {
    "polling with a waiting tool": _polling_with_wait,
    "progress of a job": _progressing,
    "same answers": _same_answers,
    "sparse search": _sparse_search,
    "debugging": _debugging,
    "similar records": _similar_records,
}


def make(kind: str, maker: Maker, seed: int) -> Case:
    """One run of a kind."""
    steps, begins = maker(random.Random(f"{kind} {seed}"))
    return Case(kind, seed, steps, begins)
