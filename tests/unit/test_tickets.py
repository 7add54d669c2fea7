"""Where the demo's tickets come from, and what is said of files that cannot be used."""

from pathlib import Path

import pytest

from penstock.adapters.simulated import banking77
from penstock.demo import tickets as module
from penstock.demo.tickets import Ticket, packaged_tickets, read_tickets
from penstock.kernel.errors import InputInvalid, UsageError


def write(folder: Path, data: str | bytes) -> Path:
    path = folder / "tickets.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_packaged_tickets_are_drawn_by_seed_and_unknown_to_the_model() -> None:
    drawn = packaged_tickets(300, 7)
    assert packaged_tickets(300, 7) == drawn
    assert packaged_tickets(300, 8) != drawn
    assert [ticket.number for ticket in drawn] == list(range(300))
    assert len({ticket.text for ticket in drawn}) == 300
    assert not {ticket.text for ticket in drawn} & {example.text for example in banking77("examples")}
    assert len({ticket.category for ticket in drawn}) > 60


@pytest.mark.parametrize("count", [0, -1, 100_000])
def test_as_many_as_there_are(count: int) -> None:
    with pytest.raises(UsageError, match="the package has 3067"):
        packaged_tickets(count, 1)


def test_a_file_with_categories(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,category\n"Where, please,\nis it?",card_arrival\nHello,\n')
    assert read_tickets(path) == [Ticket(0, "Where, please,\nis it?", "card_arrival"), Ticket(1, "Hello", "")]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ("text\nOne\nTwo\nThree\n", ["One", "Two", "Three"]),
        ("\ufeffcategory,text\r\nx,Ünï\r\n", ["Ünï"]),
        ("text\n\n  One  \n\n\nTwo", ["One", "Two"]),
        (" text , category \n=1+1,a\n", ["=1+1"]),
    ],
)
def test_files_as_spreadsheets_write_them(data: str, texts: list[str], tmp_path: Path) -> None:
    assert [ticket.text for ticket in read_tickets(write(tmp_path, data))] == texts


def test_the_first_tickets_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, "text\nOne\nTwo\nThree\n")
    assert [ticket.text for ticket in read_tickets(path, 2)] == ["One", "Two"]
    with pytest.raises(UsageError, match="0 tickets"):
        read_tickets(path, 0)


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        ("", 1, "the file is empty"),
        ("text,category\n", 2, "there are no tickets"),
        ("text\n\n\n", 4, "there are no tickets"),
        ("question,category\nx,y\n", 1, "there is a column 'question'"),
        ("text,category,id\nx,y,z\n", 1, "there is a column 'id'"),
        ("category\nx\n", 1, "no column named text"),
        ("text,text\nx,y\n", 1, "twice"),
        ("text,category\nok,a\nfoo, bar,a\n", 3, "there are 3 fields; the first line promises 2"),
        ("text,category\nok,a\nfoo\n", 3, "there are 1 fields; the first line promises 2"),
        ('text\n"two\nlines"\n"  "\n', 4, "the text is empty"),
        ("text,category\nok,a\n,b\n", 3, "the text is empty"),
        ('text\nok\n"never closed\n', 3, "this is not CSV"),
        ('text\n"closed" badly\n', 2, "this is not CSV"),
        (b"text\nok\ncaf\xe9\n", 3, "byte 0xe9 is not UTF-8"),
        ("text\nok\na\x00b\n", 3, "NUL"),
        ("text\n" + "x" * 20_001 + "\n", 2, "20,001 characters; the bound is 20,000"),
        ("text,category\nx," + "y" * 101 + "\n", 2, "101 characters; the bound is 100"),
        ("text\n" + "x" * 200_000 + "\n", 2, "this is not CSV"),
    ],
)
def test_what_is_wrong_and_where(data: str | bytes, line: int, words: str, tmp_path: Path) -> None:
    path = write(tmp_path, data)
    with pytest.raises(InputInvalid) as caught:
        read_tickets(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert words in caught.value.what
    assert caught.value.fields["line"] == line
    assert "text,category" in caught.value.advice


def test_rows_beyond_the_count_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="line 3"):
        read_tickets(write(tmp_path, "text\nOne\na,b\n"), 1)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputInvalid, match="No such file"):
        read_tickets(tmp_path / "absent.csv")
    with pytest.raises(InputInvalid, match="Is a directory"):
        read_tickets(tmp_path)
    monkeypatch.setattr(module, "FILE_MAX_BYTES", 10)
    with pytest.raises(InputInvalid, match="the bound is 10"):
        read_tickets(write(tmp_path, "text\nlonger than that\n"))
