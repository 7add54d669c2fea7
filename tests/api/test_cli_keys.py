"""``penstock keys``: made and shown once, listed, revoked; each is an action on the record."""

import pytest
from tests.api.conftest import CommandLine


def test_a_key_is_made_listed_and_revoked(command_line: CommandLine) -> None:
    made = command_line.quick(
        "keys", "make", "ci", "--role", "operator", "--role", "viewer", "--tenant", "keys", "--json"
    )
    assert made.code == 0, made.err
    key = made.document
    assert key["key"].startswith(f"pk_{key['handle']}_")
    assert key["roles"] == ["viewer", "operator"]
    listed = command_line.quick("keys", "ls", "--tenant", "keys")
    assert key["key"] not in listed.out
    assert key["id"] in listed.out
    assert "usable" in listed.out
    revoked = command_line.quick("keys", "revoke", key["id"][-6:], "--tenant", "keys")
    assert (revoked.code, revoked.out) == (0, "revoked ci\n")
    assert "revoked" in command_line.quick("keys", "ls", "--tenant", "keys").out
    assert command_line.quick("keys", "ls", "--tenant", "others", "--json").document == {"keys": []}
    verified = command_line.quick("audit", "verify", "--tenant", "keys")
    assert verified.out == "verified: 0 runs, 0 events, 0 payloads, 2 actions\n"


def test_a_key_is_shown_alone_so_that_it_can_be_taken(command_line: CommandLine) -> None:
    made = command_line.quick("keys", "make", "x", "--role", "viewer", "--expires-days", "1", "--tenant", "shown")
    assert made.out.strip().startswith("pk_")
    assert made.out.count("\n") == 1
    assert made.out.strip() not in made.err
    listed = command_line.quick("keys", "ls", "--tenant", "shown")
    assert "until" in listed.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("make", "x", "--role", "boss"), "role_unknown"),
        (("make", "x", "--role", "viewer", "--only", "keys:manage"), "role_unknown"),
        (("make", " ", "--role", "viewer"), "input_invalid"),
        (("make", "x", "--role", "viewer", "--expires-days", "0"), "input_invalid"),
        (("make", "x"), "usage"),
        (("revoke", "00"), "key_unknown"),
        (("revoke", "00000000-0000-0000-0000-000000000000"), "key_unknown"),
    ],
)
def test_what_cannot_be(command_line: CommandLine, arguments: tuple[str, ...], code: str) -> None:
    done = command_line.quick("keys", *arguments, "--json")
    assert (done.code, done.error["code"]) == (2, code)
