"""What is accepted of a server's tools, and what of their arguments."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.integrations.mcp import MCPServer, read, write
from penstock.integrations.mcp.definitions import Lock, read_definition, read_listing
from penstock.integrations.mcp.schema import checker
from penstock.kernel.errors import McpConfigInvalid, McpLockInvalid, McpMissing, McpToolInvalid, ToolInvalid
from penstock.ports.tools import ToolArgsInvalid

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "times": {"type": "integer", "minimum": 1}},
    "required": ["text"],
    "additionalProperties": False,
}


def tool(**fields: Any) -> dict[str, Any]:
    return {"name": "note", "description": "Write a line.", "inputSchema": SCHEMA, **fields}


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Write a line. Then send it to somebody else."},
        {"inputSchema": {**SCHEMA, "required": []}},
        {"annotations": {"readOnlyHint": True}},
        {"outputSchema": {"type": "object"}},
        {"title": "Note"},
    ],
)
def test_whatever_a_model_or_a_person_may_see_of_a_tool_is_in_its_digest(change: dict[str, Any]) -> None:
    assert read_definition("odd", tool(**change)).digest != read_definition("odd", tool()).digest


def test_what_says_nothing_of_a_tool_is_not() -> None:
    assert read_definition("odd", tool(_meta={"at": 1})).digest == read_definition("odd", tool()).digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a b"}, "no model could call"),
        ({"name": "x" * 65}, "no model could call"),
        ({"name": None}, "no model could call"),
        ({"inputSchema": {"type": "string"}}, "not of an object"),
        ({"inputSchema": {"type": "object", "properties": 3}}, "not a JSON Schema"),
        ({"inputSchema": {"type": "object", "properties": {"a": {"$ref": "https://example.com/s"}}}}, "beyond itself"),
        ({"description": "x" * 70_000}, "bytes"),
        ({"description": "Write.\U000e0041\U000e0042"}, "U\\+E0041"),
        ({"description": "Write.\u202eesrever"}, "U\\+202E"),
        ({"description": "Write.\x1b[2J"}, "U\\+001B"),
        ({"inputSchema": {"type": "object", "enum": list(range(3000))}}, "parts"),
    ],
)
def test_a_tool_that_cannot_be_accepted_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(McpToolInvalid, match=words):
        read_definition("odd", tool(**change))


def test_one_bad_tool_does_not_take_the_others_along_and_a_name_twice_is_no_tool() -> None:
    found, refused = read_listing("odd", [tool(), tool(name="a b"), tool(name="look"), tool(name="look", title="2")])
    assert list(found) == ["note"]
    assert set(refused) == {"a b", "look"}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "text is missing"),
        ({"text": 3}, "text: must be of type string"),
        ({"text": "a", "times": 0}, "times: must be of minimum 1"),
        ({"text": "a", "colour": "red"}, "it knows text, times"),
    ],
)
def test_arguments_that_do_not_fit_are_named_without_repeating_them(args: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolArgsInvalid, match=words) as caught:
        checker(SCHEMA)({"text": "a", **args} if "text" not in args and args else args)
    assert "red" not in str(caught.value)


def test_a_regular_expression_of_the_server_is_not_run() -> None:
    """On these arguments the expression would take longer than anybody waits."""
    check = checker({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}})
    check({"a": "a" * 60 + "!"})


def test_a_lock_file_keeps_definitions_and_notices_a_change_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "mcp.lock.json"
    Lock(path, {"odd": {"note": read_definition("odd", tool())}}).write()
    assert Lock.read(path).servers["odd"]["note"].description == "Write a line."
    path.write_text(path.read_text().replace("Write a line.", "Write two lines."))
    with pytest.raises(McpLockInvalid, match="not the one that was pinned"):
        Lock.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "servers": {}}', '{"version": 1, "servers": []}'])
def test_a_lock_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mcp.lock.json"
    path.write_text(text)
    with pytest.raises(McpLockInvalid):
        Lock.read(path)


def test_a_server_that_the_lock_file_does_not_name_has_no_tools(tmp_path: Path) -> None:
    path = tmp_path / "mcp.lock.json"
    Lock(path, {"odd": {}}).write()
    with pytest.raises(McpLockInvalid, match="does not name"):
        MCPServer("other", command=["x"], lock=path).locked_tools()


def test_tools_that_nobody_declared_ask_a_person_and_hints_are_believed_only_when_told_to() -> None:
    hinted = read_definition("odd", tool(annotations={"readOnlyHint": True}))
    (plain,) = MCPServer("odd", command=["x"]).tools_of({"note": hinted}, "value")
    (trusted,) = MCPServer("odd", command=["x"], trust_hints=True).tools_of({"note": hinted}, "value")
    assert {plain.definition.returns, trusted.definition.returns} == {"untrusted"}  # whatever the server hints at
    said = MCPServer("odd", command=["x"], tools={"note": write(returns="trusted")}).tools_of({"note": hinted}, "value")
    assert said[0].definition.returns == "trusted"
    assert (plain.definition.effect, plain.definition.permission) == ("write", "confirm")
    assert plain.definition.in_doubt == "escalate"
    assert trusted.definition.effect == "read"
    assert MCPServer("odd", command=["x"], unknown="deny", trust_hints=True).tools_of({"note": hinted}, "value") == []


def test_a_key_argument_is_the_gates_to_set_and_not_the_models() -> None:
    server = MCPServer("odd", command=["x"], tools={"note": write(in_doubt="keyed", key_argument="times")})
    (keyed,) = server.tools_of({"note": read_definition("odd", tool())}, "value")
    assert "times" not in json.dumps(keyed.definition.spec.schema)
    with pytest.raises(ToolArgsInvalid):
        keyed.definition.read_args('{"text": "a", "times": 2}')
    with pytest.raises(ToolInvalid, match="key_argument"):
        MCPServer("odd", command=["x"], tools={"note": write(in_doubt="keyed")})


def test_another_description_or_effect_makes_another_release_of_the_tool() -> None:
    definitions = {"note": read_definition("odd", tool())}
    others = {"note": read_definition("odd", tool(description="Write."))}
    (one,) = MCPServer("odd", command=["x"]).tools_of(definitions, "value")
    (same,) = MCPServer("odd", command=["y"]).tools_of(definitions, "value")
    (changed,) = MCPServer("odd", command=["x"]).tools_of(others, "value")
    (declared,) = MCPServer("odd", command=["x"], tools={"note": read()}).tools_of(definitions, "value")
    digests = [each.definition.digest for each in (one, changed, declared)]
    assert len(set(digests)) == 3
    assert same.definition.digest == one.definition.digest


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "needs a command"),
        ({"command": ["x"], "url": "http://localhost/mcp"}, "not both"),
        ({"command": "x y"}, "as a list"),
        ({"url": "file:///etc/passwd"}, "not of http"),
        ({"command": ["x"], "unknown": "allow"}, "'hold' and 'deny'"),
    ],
)
def test_a_server_that_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(McpConfigInvalid, match=words):
        MCPServer("odd", **fields)


def test_a_declared_tool_that_the_server_has_not_is_a_slip_of_the_pen() -> None:
    server = MCPServer("odd", command=["x"], tools={"nota": read()})
    with pytest.raises(McpConfigInvalid, match="no tool nota; it has note"):
        server.tools_of({"note": read_definition("odd", tool())}, "value")


def test_secrets_are_not_in_the_words_for_a_server() -> None:
    server = MCPServer("odd", url="https://example.com/mcp", headers={"Authorization": "Bearer secret-1"})
    assert "secret-1" not in repr(server)


def test_without_the_official_package_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mcp.lock.json"
    Lock(path, {"odd": {}}).write()
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(McpMissing) as caught:
        MCPServer("odd", command=["x"], lock=path).locked_tools()
    assert "penstock[mcp]" in caught.value.advice
