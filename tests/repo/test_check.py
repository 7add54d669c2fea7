"""`make test` runs every test in one of its phases, and is well only when all of its parts are."""

import re
import sys
import time
from pathlib import Path

import pytest
from tools import check
from tools.check import Part, Phase

SEEN_MARKS: tuple[set[str], ...] = (
    {"crash"},
    {"alone"},
    {"patient"},
    {"alone", "patient"},
    {"crash", "patient"},
    set(),
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("marks", SEEN_MARKS, ids=lambda marks: "+".join(sorted(marks)) or "none")
def test_every_test_is_in_one_phase(marks: set[str]) -> None:
    names = {name: name in marks for name in ("crash", "alone", "patient")}
    chosen = [eval(words, {}, names) for words in (check.SIDE_BY_SIDE, check.TIMED, check.PATIENT)]
    assert chosen.count(True) == 1


def test_the_phases_are_those() -> None:
    lines = [" ".join(part.command) for phase in check.phases() for part in (phase.main, *phase.beside)]
    for words, parts in ((check.SIDE_BY_SIDE, 1), (check.TIMED, 2), (check.PATIENT, 1)):
        assert sum(line.endswith(f"-m {words}") for line in lines) == parts


def test_tests_with_a_phase_of_their_own_are_where_it_looks() -> None:
    marked = re.compile(r"\bmark\.(crash|alone|patient)\b")
    for path in (check.ROOT / "tests").rglob("*.py"):
        for mark in marked.findall(path.read_text(encoding="utf-8")) if path != Path(__file__) else ():
            folders = check.PATIENT_IN if mark == "patient" else (*check.TIMED_IN, *check.SHOWN_IN)
            assert any(path.is_relative_to(check.ROOT / folder) for folder in folders), f"{path}: {mark}"


def test_all_parts_run_and_what_ran_beside_is_shown_whole(capfd: pytest.CaptureFixture[str]) -> None:
    phases = [
        Phase(
            Part("first", python("print('main'); raise SystemExit(3)")),
            [Part("aside", python("print('x' * 10**6)"), nice=5)],
        ),
        Phase(Part("second", python("print('after')"))),
    ]
    ended = check.run(phases)
    assert [(part.name, part.code) for part in ended] == [("first", 3), ("aside", 0), ("second", 0)]
    out = capfd.readouterr().out
    assert out.index("main") < out.index("aside:\n" + "x" * 10**6) < out.index("after")
    assert [line.split()[:2] for line in check.summary(ended).splitlines()] == [
        ["first", "FAILED"],
        ["aside", "ok"],
        ["second", "ok"],
    ]


def test_one_that_fails_beside_fails_all(monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [Phase(Part("main", python("")), [Part("aside", python("raise SystemExit(1)"))])]
    monkeypatch.setattr(check, "phases", lambda: fails)
    assert check.main() == 1
    monkeypatch.setattr(check, "phases", lambda: [Phase(Part("main", python("")), [Part("aside", python(""))])])
    assert check.main() == 0


def test_what_runs_beside_ends_with_a_phase_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(running: check.Running) -> check.Ended:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "_wait", interrupted)
    monkeypatch.setattr(
        check, "phases", lambda: [Phase(Part("a", python("")), [Part("b", python(f"import time; time.sleep({3600})"))])]
    )
    began = time.monotonic()
    assert check.main() == 130
    assert time.monotonic() - began < 60
