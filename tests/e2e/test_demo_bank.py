"""The demo's bank on a real PostgreSQL: effects count themselves once, whatever is repeated or runs at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock import Change
from penstock.demo.bank import Bank, BankRefused
from penstock.demo.situations import Situation, situation
from penstock.demo.support_tools import BankTools

CUSTOMER = "C-world1-0000"


def customers(world: str, count: int = 3) -> list[Situation]:
    return [situation(1, number, "transaction_charged_twice", f"C-{world}-{number:04d}") for number in range(count)]


@pytest.fixture
async def bank(database_url: str) -> AsyncIterator[Bank]:
    opened = await Bank.open(database_url, connections=4)
    await opened.found("world1", customers("world1"))
    yield opened
    await opened.close()


async def test_what_agents_see(bank: Bank) -> None:
    one = customers("world1")[0]
    account = await bank.get_account(CUSTOMER)
    assert account["balance_cents"] == one.balance_cents
    assert [card["card_id"] for card in account["cards"]] == [card.card_id for card in one.cards]
    rows = (await bank.list_transactions(CUSTOMER, 100))["transactions"]
    assert [row["transaction_id"] for row in rows] == [row.transaction_id for row in one.transactions]
    assert rows[0]["day"] == one.transactions[0].day.isoformat()
    assert len((await bank.list_transactions(CUSTOMER, 2))["transactions"]) == 2
    for call in (bank.get_account("C-none"), bank.list_transactions("C-none", 5)):
        with pytest.raises(BankRefused, match="no customer C-none"):
            await call


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("card arrival", "Card arrival"),
        ("transaction charged twice", "Transaction charged twice"),
        ("terminate account", "Terminate the account"),
        ("pin blocked", "PIN blocked"),
        ("exchange rate", "Exchange rate"),
    ],
)
async def test_help_is_found_by_any_word(bank: Bank, query: str, title: str) -> None:
    articles = (await bank.search_help(query))["articles"]
    assert articles[0]["title"].startswith(title)
    assert articles[0]["text"]


@pytest.mark.parametrize("query", ["", "the of and", "'); DROP TABLE refunds; --", "& | ! <->", "zzzz"])
async def test_odd_searches_find_nothing_and_break_nothing(bank: Bank, query: str) -> None:
    assert isinstance((await bank.search_help(query))["articles"], list)


async def test_a_refund_is_paid_once_for_each_key(bank: Bank) -> None:
    one = customers("world1")[0]
    owed = one.truth.owed[0]
    done = await asyncio.gather(*(bank.refund(CUSTOMER, owed, 100, "twice", "key-1") for _ in range(12)))
    assert sorted(answer["status"] for answer in done) == ["done"] + ["was done before"] * 11
    assert await bank.count(CUSTOMER, "refund") == 1
    assert (await bank.get_account(CUSTOMER))["balance_cents"] == one.balance_cents + 100
    assert await bank.refunded("key-1")
    assert not await bank.refunded("key-2")
    await bank.refund(CUSTOMER, owed, 50, "twice", "key-2")
    assert await bank.count(CUSTOMER, "refund") == 2


async def test_who_decides_on_a_refund_sees_what_it_changes(bank: Bank) -> None:
    one, tools = customers("world1")[0], BankTools(bank)
    owed, balance = one.truth.owed[0], one.balance_cents / 100
    await bank.refund(CUSTOMER, owed, 100, "a part", "key-1")
    paid_back, account = await tools.refund_changes(CUSTOMER, owed, 250)
    row = next(row for row in one.transactions if row.transaction_id == owed)
    words = f"{row.description} of {row.day.isoformat()} (-€{-row.amount_cents / 100:,.2f}): paid back"
    assert paid_back == Change(words, "€1.00", "€3.50")
    assert account == Change("balance of the account", f"€{balance + 1:,.2f}", f"€{balance + 3.5:,.2f}")
    with pytest.raises(BankRefused):
        await tools.refund_changes(CUSTOMER, customers("world1")[1].truth.owed[0], 250)
    assert tools.calls == 0, "a look is no call of an agent"
    declared = next(item.definition for item in tools.all() if item.name == "refund")
    assert declared.preview is not None
    assert await bank.count(CUSTOMER, "refund") == 1


async def test_other_effects_count_themselves(bank: Bank) -> None:
    card = customers("world1")[0].cards[0].card_id
    for _ in range(2):
        await bank.freeze_card(CUSTOMER, card)
        await bank.close_account(CUSTOMER)
        await bank.send_reply(CUSTOMER, "Hello", "key-1")
    await bank.send_reply(CUSTOMER, "Hello again", "key-2")
    counts = {effect: await bank.count(CUSTOMER, effect) for effect in ("freeze", "closure", "reply", "refund")}
    assert counts == {"freeze": 1, "closure": 1, "reply": 2, "refund": 0}


async def test_what_does_not_exist_is_refused_and_not_counted(bank: Bank) -> None:
    other = customers("world1")[1]
    refused = [
        bank.refund(CUSTOMER, other.truth.owed[0], 100, "", "key"),
        bank.refund(CUSTOMER, customers("world1")[0].truth.owed[0], 0, "", "key"),
        bank.freeze_card(CUSTOMER, other.cards[0].card_id),
        bank.send_reply("C-none", "Hello", "key"),
        bank.close_account("C-none"),
    ]
    for call in refused:
        with pytest.raises(BankRefused):
            await call
    assert all(not ledger.counts for ledger in await bank.ledger("world1"))


async def test_the_ledger_is_of_one_world(bank: Bank) -> None:
    await bank.found("world2", customers("world2", 2))
    owed, card = customers("world2")[1].truth.owed[0], customers("world2")[1].cards[1].card_id
    await bank.refund("C-world2-0001", owed, 70, "", "a")
    await bank.refund("C-world2-0001", owed, 30, "", "b")
    await bank.freeze_card("C-world2-0001", card)
    await bank.close_account("C-world2-0000")
    first, second = await bank.ledger("world2")
    assert (first.ticket, first.closed, first.counts) == (0, True, {"closure": 1})
    assert (second.ticket, second.closed, second.frozen) == (1, False, (card,))
    assert second.refunds == ((owed, 70), (owed, 30))
    assert second.counts == {"refund": 2, "freeze": 1}
    assert all(not ledger.counts for ledger in await bank.ledger("world1"))
    assert await bank.ledger("world3") == []


async def test_several_can_open_it_at_once(database_url: str) -> None:
    banks = await asyncio.gather(*(Bank.open(database_url, connections=1) for _ in range(4)))
    assert (await banks[0].search_help("card"))["articles"]
    await asyncio.gather(*(bank.close() for bank in banks))
