"""`@tool`: what a declaration means, and what is no declaration."""

from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from penstock import IdempotencyKey, Tool, ToolContext, tool
from penstock.kernel.errors import ToolInvalid
from penstock.ports.tools import ToolArgsInvalid


class Place(BaseModel):
    city: str
    zip_code: str = Field(pattern=r"^\d{5}$")


async def confirm_it(**args: Any) -> bool:
    return True


@tool(effect="write", risk="high", in_doubt="keyed", labels={"owner": "payments"})
async def send(
    to: Place, amount: int, day: date = date(2026, 1, 2), *, key: IdempotencyKey, context: ToolContext
) -> Place:
    """Send something."""
    return to


def test_what_is_not_declared_is_the_careful_choice() -> None:
    @tool
    async def act(x: int) -> int:
        """Act."""
        return x

    made = act.definition
    assert (made.effect, made.risk, made.permission, made.in_doubt) == ("write", "medium", "confirm", "escalate")
    assert (made.attempts, made.repeatable, made.is_async) == (1, False, True)

    @tool(effect="read")
    def look(x: int) -> int:
        """Look."""
        return x

    made = look.definition
    assert (made.effect, made.risk, made.permission, made.in_doubt) == ("read", "low", "auto", "idempotent")
    assert not made.is_async


async def test_a_tool_called_directly_is_the_plain_function() -> None:
    @tool(effect="read")
    async def double(x: int) -> int:
        """Twice."""
        return 2 * x

    assert await double(4) == 8
    assert isinstance(double, Tool)
    assert (double.name, double.__doc__) == ("double", "Twice.")


def test_a_model_sees_name_words_and_schema_but_neither_key_nor_context() -> None:
    spec = send.definition.spec
    assert (spec.name, spec.description) == ("send", "Send something.")
    assert set(spec.schema["properties"]) == {"to", "amount", "day"}
    assert spec.schema["required"] == ["to", "amount"]
    assert spec.schema["additionalProperties"] is False
    assert (send.definition.key_param, send.definition.context_param) == ("key", "context")


def test_arguments_are_read_into_plain_values_and_bound_back_to_typed_ones() -> None:
    plain = send.definition.read_args('{"to": {"city": "Ulm", "zip_code": "89073"}, "amount": 3}')
    assert plain == {"to": {"city": "Ulm", "zip_code": "89073"}, "amount": 3, "day": "2026-01-02"}
    bound = send.definition.bind(plain)
    assert bound == {"to": Place(city="Ulm", zip_code="89073"), "amount": 3, "day": date(2026, 1, 2)}
    assert send.definition.read_result({"city": "Ulm", "zip_code": "89073"}) == Place(city="Ulm", zip_code="89073")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('{"to": {"city": "Ulm", "zip_code": "8907"}, "amount": 3}', "to.zip_code"),
        ('{"to": {"city": "Ulm", "zip_code": "89073"}}', "amount: Field required"),
        ('{"to": {"city": "Ulm", "zip_code": "89073"}, "amount": 3, "key": "mine"}', "key: Extra inputs"),
        ("[1]", "arguments"),
        ("{", "Invalid JSON"),
        ("", "to: Field required"),
    ],
)
def test_what_does_not_fit_is_said_without_repeating_it(raw: str, words: str) -> None:
    with pytest.raises(ToolArgsInvalid, match=words) as caught:
        send.definition.read_args(raw)
    assert "8907'" not in str(caught.value)


def test_no_arguments_may_be_written_as_nothing() -> None:
    @tool(effect="read")
    async def ping() -> str:
        """Ping."""
        return "pong"

    assert ping.definition.read_args("") == ping.definition.read_args("{}") == {}


def test_another_code_effect_or_schema_is_another_digest() -> None:
    def make(effect: Any, body: Callable[..., Any]) -> str:
        return str(tool(name="t", effect=effect)(body).definition.digest)

    async def one(x: int) -> int:
        return x

    async def two(x: int) -> int:
        return x + 1

    assert make("read", one) == make("read", one)
    assert len({make("read", one), make("write", one), make("read", two)}) == 3


async def no_key(x: int) -> None: ...


async def starred(*args: int) -> None: ...


async def keyworded(**kwargs: int) -> None: ...


async def positional(x: int, /) -> None: ...


async def unknown_type(x: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821


class Opaque:
    """Has no JSON form."""


async def opaque(x: Opaque) -> None: ...


@pytest.mark.parametrize(
    ("function", "how", "words"),
    [
        (no_key, {"in_doubt": "keyed"}, "takes no key"),
        (no_key, {"in_doubt": "confirm"}, "has no look-up"),
        (no_key, {"effect": "delete"}, "there are 'read' and 'write'"),
        (no_key, {"timeout_seconds": 0}, "time-out"),
        (no_key, {"timeout_seconds": float("nan")}, "time-out"),
        (no_key, {"attempts": 0}, "attempts"),
        (no_key, {"attempts": 11}, "attempts"),
        (starred, {}, "parameter"),
        (keyworded, {}, "parameter"),
        (positional, {}, "parameter"),
        (unknown_type, {}, "annotation"),
        (opaque, {}, "no JSON form"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    function: Callable[..., Any], how: dict[str, Any], words: str
) -> None:
    with pytest.raises(ToolInvalid, match=words):
        tool(**how)(function)


def test_a_look_up_and_literals_are_welcome() -> None:
    @tool(name="book", in_doubt="confirm", confirm=confirm_it)
    async def anything(kind: Literal["a", "b"]) -> None:
        """Book."""

    assert anything.name == "book"
    assert anything.definition.confirm is confirm_it
    with pytest.raises(ToolArgsInvalid):
        anything.definition.read_args('{"kind": "c"}')
