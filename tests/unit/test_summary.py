"""A call in one line: what it is about first, then how much, then what is written."""

from typing import Any

import pytest

from penstock.views.summary import SUMMARY_MAX_CHARS, summary_of


@pytest.mark.parametrize(
    ("tool", "args", "words"),
    [
        ("refund", {"cents": 4900, "order": "1182"}, "refund order 1182, 49.00"),
        (
            "refund",
            {
                "amount_cents": 1_278_100,
                "customer_id": "c-7",
                "reason": "charged twice",
                "transaction_id": "c-7-t3",
            },
            "refund customer c-7, transaction c-7-t3, amount 12,781.00, reason charged twice",
        ),
        ("charge", {"fee_cents": -5, "percents": 7}, "charge fee -0.05, percents 7"),
        ("charge", {"cents": 4.5, "is_final": True}, "charge cents 4.5, is final true"),
        ("send_mail", {"body": "Dear\nAda", "to": "ada@example.com"}, "send mail to ada@example.com, body Dear Ada"),
        ("tag", {"id": "t-1", "labels": ["a", "b"], "note": None}, 'tag id t-1, labels ["a","b"]'),
        ("close", {}, "close"),
        ("close", ["x"], 'close ["x"]'),
    ],
)
def test_a_call_in_one_line(tool: str, args: Any, words: str) -> None:
    assert summary_of(tool, args) == words


def test_a_long_one_is_cut_at_its_end() -> None:
    words = summary_of("mail", {"body": "x" * 500, "to": "ada"})
    assert words.startswith("mail to ada, body xxx")
    assert (len(words), words[-1]) == (SUMMARY_MAX_CHARS, "…")
