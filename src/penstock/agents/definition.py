"""What `Agent` and `@agent` functions share: name, release, budget, typed input and output."""

import hashlib
import re
from typing import Any

import msgspec
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from penstock.agents import runtime
from penstock.agents.budget import Budget
from penstock.agents.stages import NO_STAGES, Stages, perform, validation_words
from penstock.events import BudgetRecord
from penstock.gates.filters.beginning import begin_filters
from penstock.kernel.canonical import check_finite, check_plain
from penstock.kernel.errors import AgentInvalid, InputInvalid, OutputInvalid, PenstockError, Reject
from penstock.rules.filters.filters import Filters
from penstock.rules.spirals import DEFAULT, Spirals

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _plain(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The plain JSON value of what the adapter accepts.

    Raises:
        ValueError, TypeError, RecursionError: it does not fit, has no JSON form, or contains itself.
        InputInvalid: NaN or an infinity, which pydantic would turn into null where no type is declared.
    """
    accepted = adapter.validate_python(value)
    plain = adapter.dump_python(accepted, mode="json")
    check_finite(accepted)
    return plain


def check_agent_name(name: str) -> None:
    """Refuse what cannot name an agent.

    Raises:
        AgentInvalid: it is not short, lower-case and plain.
    """
    if not _NAME.fullmatch(name):
        raise AgentInvalid(
            f"{name!r} is not an agent name",
            hint="use up to 64 lower-case letters, digits, dots, dashes, underscores",
        )


class Definition:
    """Base of all agents."""

    def __init__(
        self,
        name: str,
        budget: Budget | None,
        input_type: Any,
        output_type: Any,
        parts: list[str],
        stages: Stages = NO_STAGES,
        spirals: Spirals | None = DEFAULT,
        *,
        filters: Filters | None = None,
    ) -> None:
        """``parts`` are the texts whose change makes another release; the types are those of the agent's own code.
        ``spirals``: when to step in as a run goes round in circles; None = never. ``filters``: None = the setting's.

        Raises:
            AgentInvalid: a name that is not short, lower-case and plain, or a type that has no JSON form.
        """
        check_agent_name(name)
        self.name = name
        self.limits = budget or Budget()
        self.budget: BudgetRecord = self.limits.record()
        self.spirals = spirals
        if spirals != DEFAULT:  # agents without settings of their own keep their releases
            parts = [*parts, spirals.part if spirals is not None else "spirals: off"]
        self.filters = filters
        if filters is not None:
            parts = [*parts, filters.part]
        self.release = hashlib.sha256("\x1f".join([name, *parts, *stages.parts]).encode()).hexdigest()[:16]
        self.stages = stages
        self.fallbacks: dict[str, tuple[Any, ...]] = {}
        self._input = _adapter(name, stages.input_type(input_type))
        self._prepared = _adapter(name, input_type)
        self._answer = _adapter(name, output_type)
        self._output = _adapter(name, stages.output_type(output_type))

    def plain_input(self, value: Any) -> Any:
        """The plain JSON value of an input.

        Raises:
            InputInvalid: it does not fit the agent's input type, or JSON cannot carry it.
        """
        try:
            plain = _plain(self._input, value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputInvalid(
                f"the input of {self.name} is not valid{f' at {place}' if place else ''}: {first['msg']}"
            ) from error
        except (ValueError, TypeError, RecursionError) as error:
            words = str(error).encode("utf-8", "backslashreplace").decode()[:300]
            raise InputInvalid(f"the input of {self.name} cannot be stored: {words}") from error
        check_plain(plain, "input")
        return plain

    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the input."""
        return self._input.json_schema()

    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the output."""
        return self._output.json_schema()

    def read_input(self, data: bytes) -> Any:
        """The input as the agent's code takes it.

        Raises:
            Reject: it does not fit the type, which has changed since it was submitted.
        """
        try:
            return self._input.validate_python(msgspec.json.decode(data))
        except ValidationError as error:
            raise Reject(
                f"the input of {self.name} is not valid: {validation_words(error)}", "input_invalid"
            ) from error

    def plain_prepared(self, value: Any) -> Any:
        """The plain JSON value of what ``prepare`` gave.

        Raises:
            AgentInvalid: it is not what the agent's own code takes, or JSON cannot carry it.
        """
        try:
            plain = _plain(self._prepared, value)
            check_plain(plain, "prepared value")
        except (ValueError, TypeError, RecursionError, InputInvalid) as error:
            words = validation_words(error) if isinstance(error, ValidationError) else str(error)[:300]
            raise AgentInvalid(f"what prepare of {self.name} returned does not fit: {words}") from error
        return plain

    def read_prepared(self, data: bytes) -> Any:
        """What ``prepare`` gave, as the agent's own code takes it."""
        return self._prepared.validate_python(msgspec.json.decode(data))

    def plain_output(self, value: Any) -> Any:
        """The plain JSON value of an output.

        Raises:
            OutputInvalid: it does not fit the output type, or JSON cannot carry it.
        """
        return self._plain_output(self._output, value)

    def plain_answer(self, value: Any) -> Any:
        """The same for what the agent's own code gives, before its ``consequence``.

        Raises:
            OutputInvalid: as `plain_output`.
        """
        return self._plain_output(self._answer, value)

    def _plain_output(self, adapter: TypeAdapter[Any], value: Any) -> Any:
        try:
            plain = _plain(adapter, value)
            check_plain(plain, "output")
        except (ValueError, TypeError, RecursionError, InputInvalid) as error:
            words = error.what if isinstance(error, InputInvalid) else f"{type(error).__name__}"
            raise OutputInvalid(f"the output of {self.name} does not fit its type: {words}") from error
        return plain

    def read_output(self, data: bytes) -> Any:
        """The output as callers get it."""
        return self._output.validate_python(msgspec.json.decode(data)) if data else None

    async def run(
        self,
        value: Any,
        *,
        key: str | None = None,
        tags: dict[str, str] | None = None,
        budget: Budget | None = None,
        tenant: str | None = None,
    ) -> Any:
        """Submit a run, wait for its end, and give its `Result`.

        Uses the runtime that is open in this process (`penstock.open()`, `penstock.testing.in_memory()`), else opens
        one on the configured database for this call.
        """
        return await runtime.run_somewhere(self, value, key=key, tags=tags, budget=budget, tenant=tenant)

    async def perform(self, run: Any, value: Any) -> Any:
        """All of the agent's work: its stages around its code, and its fallback when that fails."""
        run.context.facts.spirals = self.spirals
        begin_filters(run.context, self.filters, value)
        return await perform(self, run, value)

    async def invoke(self, run: Any, value: Any) -> Any:
        """Run the agent's code."""
        raise NotImplementedError

    def fall_back_to(self, fallback: Any, *, is_text: bool) -> None:
        """Declare what stands in for the agent when it fails; see `penstock.agents.degrade`.

        Raises:
            AgentInvalid: it cannot be used.
        """
        from penstock.agents.degrade import part_of, read_fallback

        self.fallbacks = read_fallback(self, fallback, is_text=is_text)
        if self.fallbacks and not isinstance(fallback, Definition):  # agents with one agent alone keep their releases
            self.release = hashlib.sha256(f"{self.release} {part_of(self.fallbacks)}".encode()).hexdigest()[:16]

    async def recover(self, run: Any, value: Any, failure: PenstockError) -> Any:
        """What stands in for the answer; where nothing is declared, the failure stands."""
        if not self.fallbacks:
            raise failure
        from penstock.agents.degrade import fall_back

        return await fall_back(self, run, value, failure)

    def __repr__(self) -> str:
        return f"<agent {self.name} release {self.release}>"


def _adapter(name: str, kind: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind)
    except PydanticUserError as error:
        raise AgentInvalid(f"the agent {name} has a type that has no JSON form: {error}") from error
