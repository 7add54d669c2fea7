"""Looking at runs: list, show, tail, replay, verify; on a real database."""

import asyncio
import json
import re
from dataclasses import dataclass

import asyncpg
import pytest
from tests.api.conftest import CommandLine, Done

from penstock.cli.exits import ExitCode


@dataclass
class Made:
    """Runs that the tests look at, made once."""

    simple: Done
    pipeline: str
    moody: str


@pytest.fixture(scope="module")
def made(command_line: CommandLine) -> Made:
    tags = ("--tag", "customer=acme", "--tag", "x_team=blue")
    simple = command_line("run", "desk_app:simple", "charged\ttwice \x1b[31m", *tags, "--key", "k-1", "--actor", "ann")
    assert simple.code == 0, simple.err
    pipeline = command_line.quick("run", "desk_app:pipeline", '{"first": "o-7"}', "--json")
    moody = command_line.quick("run", "desk_app:moody", "o-1", "--json")
    return Made(simple, pipeline.document["run"], moody.document["run"])


def lines_of(text: str) -> list[str]:
    """Lines without the guides of the tree."""
    return [line.lstrip("│├└─ ") for line in text.splitlines()]


def test_run_prints_the_output_alone_and_the_rest_beside_it(command_line: CommandLine, made: Made) -> None:
    assert made.simple.out == "done\n"
    run = re.match(r"run (\S+) of simple\n", made.simple.err)
    assert run
    assert "succeeded · 2 steps · 1 tool call · " in made.simple.err
    assert "(simulated)" in made.simple.err
    again = command_line.quick("run", "desk_app:simple", "charged\ttwice \x1b[31m", "--key", "k-1", "--json")
    assert again.document["run"] == run[1], "the key gives the run it made before"
    other = command_line.quick("run", "desk_app:simple", "another", "--key", "k-1", "--json")
    assert (other.code, other.error["code"]) == (ExitCode.USAGE, "idempotency_conflict")


def test_ls_lists_newest_first_and_filters(command_line: CommandLine, made: Made) -> None:
    rows = command_line.quick("runs", "ls", "--json").document
    ids = [row["id"] for row in rows]
    assert ids == sorted(ids, reverse=True)
    assert {"simple", "pipeline", "moody"} <= {row["agent"] for row in rows}
    table = command_line.quick("runs", "ls", "--agent", "simple", "--outcome", "succeeded", "--limit", "1")
    head, row = table.out.splitlines()
    assert head.split() == ["ID", "AGENT", "STATE", "STEPS", "TOKENS", "COST", "SUBMITTED", "TOOK", "WAITS", "FOR"]
    assert row.split()[1:4] == ["simple", "succeeded", "2"]
    assert f"--before {row.split()[0]}" in table.err
    older = command_line.quick("runs", "ls", "--agent", "simple", "--before", row.split()[0], "--json").document
    assert [item["tags"] for item in older] == [{"customer": "acme", "x_team": "blue"}]
    assert command_line.quick("runs", "ls", "--tenant", "nobody").err == "no runs\n"


def test_show_draws_goal_reasoning_calls_verdicts_and_output(command_line: CommandLine, made: Made) -> None:
    run = made.simple.err.split()[1]
    done = command_line("runs", "show", run)
    assert done.code == 0
    assert not set(done.out) & {chr(code) for code in (*range(9), *range(11, 32), 127)}, "nothing moves the cursor"
    lines = lines_of(done.out)
    assert re.fullmatch(
        rf"run {run}  simple  succeeded  2 steps · 1 tool call · \d+\+\d+ tokens · \$0\.0\d+ \(simulated\) · .+",
        lines[0],
    )
    assert "goal     charged twice \\x1b[31m" in lines
    assert "tags     customer=acme x_team=blue" in lines
    assert "budget   $0.500" in lines
    assert any(re.match(r"since    \d{4}-\d\d-\d\d .* UTC by ann", line) for line in lines)
    assert any(
        re.match(r"0  model scripted:model  ok  .+  100\+20 tokens  \$.+ \(simulated\)  \d rules passed", s)
        for s in lines
    )
    assert "thinks   They paid twice, so one goes back." in lines
    assert 'asks     look({"order": "o-1"})' in lines
    assert any(re.match(r"1  tool look  read · low risk  ok  .+  \d+ rules passed", line) for line in lines)
    assert 'in       {"order": "o-1"}' in lines
    assert "out      \\x1b]0;owned\\x07\\x1b[2Jpaid twice: o-1" in lines
    assert lines[-2:] == ["output  succeeded", "   out      done".strip()]
    full = command_line.quick("runs", "show", run, "--full").out
    assert '"order": "o-1"\n' in full
    assert "system: Help." in full


def test_show_nests_branches_and_children(command_line: CommandLine, made: Made) -> None:
    done = command_line.quick("runs", "show", made.pipeline)
    depth = {line.lstrip("│├└─ "): len(line) - len(line.lstrip("│├└─ ")) for line in done.out.splitlines()}
    found = {name: next(d for line, d in depth.items() if line.startswith(name)) for name in (
        "0  side by side, 2 branches", "0.0.0  tool look", "0.1.0  child simple", "0  model", "1  decision route"
    )}  # fmt: skip
    assert (
        found["0  side by side, 2 branches"]
        < found["0.0.0  tool look"]
        == found["0.1.0  child simple"]
        < found["0  model"]
    )
    assert found["1  decision route"] == found["0  side by side, 2 branches"]
    document = command_line.quick("runs", "show", made.pipeline, "--json").document
    gather, decision, record = document["spans"]
    by_kind = {span["kind"]: span for span in gather["spans"]}  # side by side: in the order in which they began
    assert sorted(by_kind) == ["child", "tool"]
    child = by_kind["child"]["trace"]
    assert (child["parent"], child["outcome"], child["input"]) == (made.pipeline, "succeeded", "and this one?")
    assert child["spans"][0]["reasoning"] == ["They paid twice, so one goes back."]
    assert decision["output"] == {"chosen": "reply", "options": ["refund", "reply"], "why": "nothing is owed"}
    assert (record["name"], record["output"]) == ("stamp", 7)
    assert document["totals"]["tokens_in"] == child["totals"]["tokens_in"] > 0
    without = command_line.quick("runs", "show", made.pipeline, "--no-children", "--json").document
    assert without["spans"][0]["spans"][1]["trace"] is None


def test_a_narrow_terminal_gets_colours_and_short_lines(command_line: CommandLine, made: Made) -> None:
    run = made.simple.err.split()[1]
    shown = command_line.on_terminal("runs", "show", run, columns=64)
    assert "\x1b[32msucceeded\x1b[0m" in shown
    bare = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert "\x1b" not in bare, "nothing but colours of ours"
    assert max(map(len, bare.splitlines())) <= 64
    assert not re.search(r"\x1b\[[\d;]*3\dm", command_line.on_terminal("runs", "show", run, columns=64, NO_COLOR="1"))
    table = command_line.on_terminal("runs", "ls", columns=64).splitlines()
    assert table[0].split() == ["ID", "AGENT", "STATE", "COST"]


def test_a_reader_that_leaves_early_is_no_error(command_line: CommandLine, made: Made) -> None:
    process = command_line.start("runs", "tail", made.moody, "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_tail_prints_one_object_an_event(command_line: CommandLine, made: Made) -> None:
    done = command_line.quick("runs", "tail", made.moody, "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["kind"], events[-1]["kind"], events[-1]["outcome"]) == ("run.submitted", "run.ended", "succeeded")
    text = command_line.quick("runs", "tail", made.moody, "--no-follow").out.splitlines()
    assert len(text) == len(events)
    assert text[-1].endswith("succeeded")


def test_an_id_may_be_shortened_while_it_names_one_run(command_line: CommandLine, made: Made) -> None:
    assert command_line.quick("runs", "show", made.moody[:-4], "--json").document["run"] == made.moody
    done = command_line.quick("runs", "show", made.moody[:4], "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "run_unknown")
    assert "several runs have ids that begin with" in done.error["what"]
    done = command_line.quick("runs", "show", "ffff0000")
    assert done.err.startswith("error[run_unknown]: no run of tenant 'default' has an id that begins with 'ffff0000'\n")
    done = command_line.quick("runs", "show", made.moody, "--tenant", "another", "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "run_unknown"), "another tenant's run is nobody's"


def test_replay_reaches_the_recorded_events_and_calls_nothing(command_line: CommandLine, made: Made) -> None:
    done = command_line.quick("runs", "replay", made.pipeline, "--app", "desk_app", "--step")
    assert done.code == 0
    assert done.out.splitlines()[-2:] == [
        "same: 4 calls given back, 11 events, nothing was called",
        "the code ends as recorded: succeeded",
    ]
    order = re.findall(r"(?m)^(\d[\d.]*)  (?:tool|child|decision|note) ", done.out)
    assert order == ["0.0.0", "0.1.0", "1", "2"], "--step shows the calls in the order of their outcomes"
    after = command_line.quick("runs", "show", made.pipeline, "--json").document
    assert after["events"] == 11, "a replay writes nothing"


def test_replay_shows_the_first_difference_side_by_side(command_line: CommandLine, made: Made) -> None:
    done = command_line("runs", "replay", made.moody, "--app", "desk_app", DESK_ORDER="o-2")
    assert done.code == ExitCode.FAILED
    assert done.out.splitlines() == [
        "diverged: the agent's code did not repeat its tape: at call 1 (seq 5), the same call, with other arguments",
        '  recorded   tool look  {"order": "o-1"}',
        '  attempted  tool look  {"order": "o-2"}',
        "  at order",
        "    - o-1",
        "    + o-2",
    ]
    assert "hint: " in done.err
    found = command_line.quick(
        "runs", "replay", made.moody, "--app", "desk_app:moody", "--json", DESK_ORDER="o-2"
    ).document
    assert (found["same"], found["calls"], found["divergence"]["path"]) == (False, ["0"], "1")
    assert found["divergence"]["differences"] == [{"place": "order", "recorded": "o-1", "attempted": "o-2"}]
    done = command_line.quick("runs", "replay", made.moody, "--app", "desk_app:simple", "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "agent_unknown")


def test_verify_names_the_first_bad_event_of_each_broken_run(command_line: CommandLine, made: Made) -> None:
    tenant = ("--tenant", "tampered")
    runs = [command_line.quick("run", "desk_app:moody", "o-1", *tenant, "--json").document["run"] for _ in range(3)]
    done = command_line.quick("audit", "verify", *tenant)
    assert (done.code, done.out) == (0, "verified: 3 runs, 21 events, 9 payloads\n")

    async def tamper() -> None:
        database = await asyncpg.connect(command_line.dsn)
        renamed = "convert_to(replace(convert_from(body, 'UTF8'), 'latency', 'latencY'), 'UTF8')"
        change = f"UPDATE penstock.events SET body = {renamed} WHERE run_id = $1 AND seq = 4"
        await database.execute(change, runs[0])
        await database.execute("DELETE FROM penstock.events WHERE run_id = $1 AND seq = 5", runs[1])
        await database.close()

    asyncio.run(tamper())
    done = command_line.quick("audit", "verify", *tenant)
    assert done.code == ExitCode.CHAIN
    assert done.err.startswith("error[chain_broken]: 2 runs of 3 runs, ")
    assert f"broken: event 4 of run {runs[0]} is not what was recorded" in done.out
    assert f"broken: event 5 of run {runs[1]} is missing" in done.out
    found = command_line("audit", "verify", runs[1], *tenant, "--json")
    assert found.code == ExitCode.CHAIN
    assert [(item["run"], item["seq"], item["problem"]) for item in found.document["broken"]] == [
        (runs[1], 5, "missing")
    ]
    assert command_line.quick("audit", "verify", runs[2], *tenant).code == 0
    everything = command_line.quick("audit", "verify", "--all", "--json")
    assert everything.code == ExitCode.CHAIN
    assert {item["tenant"] for item in everything.document["broken"]} == {"tampered"}
    assert everything.document["runs"] > 3
