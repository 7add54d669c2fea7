"""No progress: calls go on, but nothing new comes back."""

import pytest

from penstock.rules import progress, repeats
from penstock.rules.verdict import PastCall


def calls(text: str) -> list[PastCall]:
    """One letter a call: the result it brought; ``!`` failed, ``-`` succeeded without a result."""
    return [PastCall("t", str(n), letter != "!", "" if letter in "!-" else letter) for n, letter in enumerate(text)]


N, S = progress.NUDGE_AFTER, progress.STOP_AFTER


@pytest.mark.parametrize(
    ("results", "level"),
    [
        ("", 0),
        ("abcdefghijk", 0),
        ("a" * N, 0),
        ("a" + "a" * N, 70),
        ("ab" + "ab" * (N // 2), 70),
        ("!" * (N - 1), 0),
        ("!" * N, 70),
        ("!" * N + "b", 0),
        ("a" + "a" * (S - 1), 70),
        ("a" + "a" * S, 90),
        ("!" * S, 90),
        ("a" + ("!a" * S)[: S - 1], 70),
        ("a" + ("!a" * S)[:S], 90),
        ("-" * 2 * S, 0),
        ("a" * 2 * S + "b", 0),
        ("a" * 2 * S + "b" * N, 0),
        ("a" * 2 * S + "b" * (N + 1), 70),
    ],
)
def test_table(results: str, level: int) -> None:
    assert progress.level(calls(results)) == level


def test_a_nudge_comes_first_and_the_end_of_the_run_last() -> None:
    assert N < S < repeats.STOP_REPEATS, "who repeats one call is told, then must answer, and only then ended"
