"""The environments file: what it may say, and every mistake in it."""

from pathlib import Path

import pytest

from penstock.adapters.environments import (
    BYTES_MAX,
    ENTRIES_MAX,
    SECRET_MAX_BYTES,
    EnvironmentSecrets,
    read_environments,
)
from penstock.kernel.errors import EnvironmentInvalid
from penstock.ports.environments import Environment, SecretSource

WHOLE = """
version = 1

[staging]
writes = "bound"
egress = ["api.bank.example:443", "*.internal.example", "10.0.0.0/8:5432", "[2001:db8::/32]:443"]

[staging.tools]
refund = "shop.fakes:refund"
"support-desk.look" = "shop.fakes:Look.up"
send_mail = "deny"

[staging.tools.other-desk]
look = "deny"

[staging.secrets]
bank_key = { env = "BANK_KEY" }
"mail.password" = { file = "/run/secrets/mail" }

[production]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "environments.toml"


def test_a_whole_file(file: Path) -> None:
    file.write_text(WHOLE)
    assert read_environments(file) == {
        "staging": Environment(
            "staging",
            {
                "refund": "shop.fakes:refund",
                "support-desk.look": "shop.fakes:Look.up",
                "send_mail": "deny",
                "other-desk.look": "deny",
            },
            "bound",
            {"bank_key": SecretSource(env="BANK_KEY"), "mail.password": SecretSource(file="/run/secrets/mail")},
            ("api.bank.example:443", "*.internal.example", "10.0.0.0/8:5432", "[2001:db8::/32]:443"),
        ),
        "production": Environment("production"),
    }


def test_an_empty_list_of_egress_is_not_none(file: Path) -> None:
    file.write_text("[a]\negress = []\n[b]\n")
    known = read_environments(file)
    assert (known["a"].egress, known["b"].egress) == ((), None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version = 2\n[future]\nlasers = true", "it is of version 2, and this installation reads version 1"),
        ("version = 'one'", "version is 'one'"),
        ("version = true", "version is True"),
        ("staging = 1", "staging is no table"),
        ("['']", "'' is no environment's name"),
        (f"['{'e' * 65}']", "is no environment's name"),
        ("[a]\ntool = 1", "[a] has 'tool'; there are tools, writes, secrets, egress"),
        ("[a]\nwrites = 'none'", "[a] writes is 'none'"),
        ("[a]\ntools = 1", "[a.tools] is no table"),
        ("[a.tools]\nx = 'fakes'", "[a.tools] x is 'fakes'"),
        ("[a.tools]\nx = 'fakes:'", "[a.tools] x is 'fakes:'"),
        ("[a.tools]\nx = 'os; rm:y'", "[a.tools] x is"),
        ("[a.tools]\nx = 7", "[a.tools] x is 7"),
        ('[a.tools]\n"b.x" = "deny"\n[a.tools.b]\nx = "m:x"', "[a.tools] names b.x twice"),
        ("[a.secrets]\nk = 'hunter2-value'", "[a.secrets] k is neither"),
        ("[a.secrets]\nk = {env = 'A', file = '/b'}", "[a.secrets] k is neither"),
        ("[a.secrets]\nk = {env = 'A B'}", "[a.secrets] k is neither"),
        ("[a.secrets]\nk = {file = 'relative'}", "[a.secrets] k is neither"),
        ("[a.secrets]\n'k k' = {env = 'A'}", "is no name of a secret"),
        ("[a]\negress = 'x'", "[a] egress is a list"),
        ("[a]\negress = ['*']", "egress: '*' is neither"),
        ("[a]\negress = ['https://x.example/']", "egress:"),
        ("[a]\negress = [443]", "443 is no host"),
        ("[a]\negress = [" + "'x.example'," * (ENTRIES_MAX + 1) + "]", "egress is a list of at most 1,000"),
        ("[a]\nx = 1\nx = 2", "is no TOML file"),
        ("[a]\n[a]", "is no TOML file"),
        ("[a", "is no TOML file"),
        ("\ufeff[a]\nb = 1", "[a] has 'b'"),
    ],
)
def test_a_mistake_is_refused_and_says_what(file: Path, text: str, why: str) -> None:
    file.write_text(text)
    with pytest.raises(EnvironmentInvalid) as refused:
        read_environments(file)
    assert why in refused.value.what
    assert "hunter2" not in refused.value.what  # what stands in a secret's place may be one


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    file.write_text("[a]\nwrites = 1\negress = ['::1::']\n[b.tools]\nx = 1")
    with pytest.raises(EnvironmentInvalid, match="and 2 more") as refused:
        read_environments(file)
    assert len(refused.value.fields["problems"]) == 3


@pytest.mark.parametrize("data", [b"\xff\xfe[a]", b"x" * (BYTES_MAX + 1), b"[a]\nx = " + b"[" * 5000])
def test_what_is_no_file_of_ours_is_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(EnvironmentInvalid):
        read_environments(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentInvalid, match="No such file"):
        read_environments(tmp_path / "nowhere.toml")
    with pytest.raises(EnvironmentInvalid, match="directory"):
        read_environments(tmp_path)


def test_secrets_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    variables = {"KEY": "of-a-variable", "EMPTY": ""}
    sources = {
        "key": SecretSource(env="KEY"),
        "unset": SecretSource(env="UNSET"),
        "empty": SecretSource(env="EMPTY"),
        "file": SecretSource(file=str(tmp_path / "file")),
        "folder": SecretSource(file=str(tmp_path)),
    }
    secrets = EnvironmentSecrets(sources, variables.get)
    assert secrets.names == ("key", "unset", "empty", "file", "folder")
    assert [secrets.read(name) for name in (*sources, "other")] == ["of-a-variable", *[None] * 5]
    assert (secrets.place("key"), secrets.place("other")) == ("the variable KEY", "")
    for content, value in (
        (b"first\n", "first"),
        (b" two words \r\n", " two words "),
        (b"line 1\nline 2\n", "line 1\nline 2"),
        (b"\n", None),
        (b"\xff", None),
        (b"x" * (SECRET_MAX_BYTES + 1), None),
    ):
        (tmp_path / "file").write_bytes(content)
        assert secrets.read("file") == value
