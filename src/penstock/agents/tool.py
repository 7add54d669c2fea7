"""`@tool`: a function with a declared effect, risk and way of settling doubt.

A synchronous function runs outside the event loop: a read in a thread, which a time-out leaves to itself, a write in a
process of its own, which a time-out kills. That process imports the function by name, so it must be at the top level
of a module or of the program's script (whose start must then be under ``if __name__ == "__main__":``), and it shares no
memory with this one.
"""

import dataclasses
import hashlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from penstock.adapters.isolation.address import check_sendable
from penstock.agents.caching import with_cache
from penstock.agents.preview import PreviewFunction, preview_of
from penstock.agents.provenance import with_provenance
from penstock.agents.resources import with_resource
from penstock.agents.secrets import with_secrets
from penstock.kernel.canonical import check_finite, stable_json
from penstock.kernel.errors import ToolInvalid
from penstock.ports.cache import CacheFor
from penstock.ports.model import ToolSpec
from penstock.ports.tools import (
    Confirm,
    Effect,
    IdempotencyKey,
    InDoubt,
    Permission,
    Resource,
    Returns,
    Risk,
    ToolArgsInvalid,
    ToolContext,
    ToolDef,
    Validator,
)

P = ParamSpec("P")
R = TypeVar("R")


class Tool(Generic[P, R]):
    """A tool. Calling it calls the plain function, for tests; agents reach it through the gate alone."""

    def __init__(self, function: Callable[P, R], definition: ToolDef) -> None:
        self.function = function
        self.definition = definition
        self.__name__ = definition.name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @property
    def name(self) -> str:
        return self.definition.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name}: {self.definition.effect}, {self.definition.risk}>"


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = ...,
    effect: Effect = ...,
    risk: Risk | None = ...,
    permission: Permission | None = ...,
    in_doubt: InDoubt | None = ...,
    timeout_seconds: float = ...,
    validate: Sequence[Validator] = ...,
    confirm: Confirm | None = ...,
    attempts: int = ...,
    retry_on: Sequence[type[Exception]] = ...,
    hedge_after: float | None = ...,
    needs_seconds: float = ...,
    repeatable: bool = ...,
    key_seconds: float | None = ...,
    approval_seconds: float | None = ...,
    labels: dict[str, str] | None = ...,
    preview: PreviewFunction | None = ...,
    cache: CacheFor | None = ...,
    invalidates: Sequence[str] = ...,
    returns: Returns = ...,
    reveals: Sequence[str] = ...,
    grounded: Sequence[str] | None = ...,
    resource: Resource | None = ...,
    conflict: Literal["deny", "wait"] = ...,
    secrets: Sequence[str] = ...,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    effect: Effect = "write",
    risk: Risk | None = None,
    permission: Permission | None = None,
    in_doubt: InDoubt | None = None,
    timeout_seconds: float = 30.0,
    validate: Sequence[Validator] = (),
    confirm: Confirm | None = None,
    attempts: int = 1,
    retry_on: Sequence[type[Exception]] = (),
    hedge_after: float | None = None,
    needs_seconds: float = 0.0,
    repeatable: bool = False,
    key_seconds: float | None = None,
    approval_seconds: float | None = None,
    labels: dict[str, str] | None = None,
    preview: PreviewFunction | None = None,
    cache: CacheFor | None = None,
    invalidates: Sequence[str] = (),
    returns: Returns = "trusted",
    reveals: Sequence[str] = (),
    grounded: Sequence[str] | None = None,
    resource: Resource | None = None,
    conflict: Literal["deny", "wait"] = "deny",
    secrets: Sequence[str] = (),
) -> Any:
    """Declare a tool.

    Args:
        name, labels: what models call it, by default the function's name; owner, review date, why this risk.
        effect: ``read`` or ``write``. What is not declared is taken for a write.
        risk: ``low`` (a read's default), ``medium`` (a write's), ``high`` (a person approves), ``prohibited`` (never).
        permission: ``auto`` or ``confirm`` (a person approves). Default: auto for reads, confirm for writes.
        in_doubt: what settles a call that may have happened: ``idempotent`` (repeat it; a read's default), ``keyed``
            (with the same `IdempotencyKey`), ``confirm`` (ask the look-up), ``escalate`` (a person; a write's default).
        timeout_seconds, needs_seconds: how long a call may take; the least that must be left before the deadline.
        validate: business rules, each a pure function of the plain arguments (None, or why not), or of `checks`.
        confirm: the look-up for ``in_doubt="confirm"``; takes the tool's own arguments.
        attempts: tries when it raises `TransientToolError` or one of ``retry_on`` (it failed, nothing happened); for a
            read also after a lost connection, a time-out, or an HTTP error such as 429 or 503.
        hedge_after: seconds after which a read without an answer is asked a second time; the first answer counts.
        repeatable: the same arguments again are meaningful (polling), not a loop.
        key_seconds: how long the receiver remembers an idempotency key; None = for ever.
        approval_seconds: how long a person has to decide; None = the setting approval_expiry_seconds.
        preview: a function of some of its arguments that only reads: the `Change` items that a person is shown (5 s).
        cache, invalidates: of a read, whether its results are given again; of a write, the tags of those that it drops.
        returns: ``untrusted`` when anybody may have written what it returns: a mail, a page, a comment.
        reveals: arguments in which tokens that filters made become values again as it is called.
        grounded: of a write, arguments that must be words of whoever asked once something untrusted was read.
        resource, conflict: what a write is about (``order:17``); while another run has that, ``deny`` or ``wait``.
        secrets: names of those that it asks its `ToolContext` for; the environments file says where they are.

    Raises:
        ToolInvalid: the declaration is incomplete or contradicts itself, or a process could not find the function.
    """

    def declare(inner: Callable[..., Any]) -> Tool[..., Any]:
        kind = _Kind(effect, risk, permission, in_doubt)
        limits = _Limits(timeout_seconds, attempts, key_seconds, approval_seconds)
        definition = _define(inner, name or inner.__name__, kind, limits, validate, confirm)
        definition = dataclasses.replace(definition, repeatable=repeatable, labels=labels or {})
        tried = _with_tries(definition, retry_on, hedge_after, needs_seconds)
        kept = with_provenance(with_cache(tried, cache, invalidates), returns, reveals, grounded)
        return Tool(inner, _with_preview(with_secrets(with_resource(kept, resource, conflict), secrets), preview))

    return declare if function is None else declare(function)


class _Kind(NamedTuple):
    """What a tool does to the world, as it was declared."""

    effect: Effect
    risk: Risk | None
    permission: Permission | None
    in_doubt: InDoubt | None


class _Limits(NamedTuple):
    """How long and how often; times in seconds."""

    timeout: float
    attempts: int
    key: float | None
    approval: float | None


def _define(
    function: Callable[..., Any],
    label: str,
    kind: _Kind,
    limits: _Limits,
    validate: Sequence[Validator],
    confirm: Confirm | None,
) -> ToolDef:
    effect, risk, permission, in_doubt = kind
    reads = effect == "read"
    is_async = inspect.iscoroutinefunction(function)
    if not is_async and not reads:
        check_sendable(label, function)
    hints = _hints(label, function)
    schema_model, key_param, context_param = _arguments(label, function, hints)
    settle = in_doubt or ("idempotent" if reads else "escalate")
    _check(label, effect, settle, key_param, confirm, limits.timeout, limits.attempts)
    spec = ToolSpec(label, inspect.getdoc(function) or "", _schema(schema_model))
    return ToolDef(
        name=label,
        spec=spec,
        call=function,
        is_async=is_async,
        effect=effect,
        risk=risk or ("low" if reads else "medium"),
        permission=permission or ("auto" if reads else "confirm"),
        in_doubt=settle,
        timeout_seconds=limits.timeout,
        digest=_digest(spec, function, [effect, risk, permission, settle]),
        read_args=_reader(schema_model),
        bind=_binder(schema_model),
        read_result=_returns(hints.get("return", Any)),
        validators=tuple(validate),
        confirm=confirm,
        key_param=key_param,
        context_param=context_param,
        attempts=limits.attempts,
        key_seconds=limits.key,
        approval_seconds=limits.approval,
    )


def _hints(label: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ToolInvalid(f"the tool {label} has an annotation that cannot be read: {error}") from error


def _arguments(
    label: str, function: Callable[..., Any], hints: dict[str, Any]
) -> tuple[type[BaseModel], str | None, str | None]:
    """A pydantic model of the parameters that a model may set; the names of the key and context parameters."""
    fields: dict[str, Any] = {}
    key_param = context_param = None
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, Any)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ToolInvalid(f"the tool {label} has the parameter {parameter}", hint="use plain named parameters")
        if hint is IdempotencyKey:
            key_param = parameter.name
        elif hint is ToolContext:
            context_param = parameter.name
        else:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hint, default)
    try:
        model = create_model(f"{label}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    except (PydanticSchemaGenerationError, NameError) as error:
        raise ToolInvalid(f"the tool {label} has a parameter that has no JSON form: {error}") from error
    return model, key_param, context_param


def _check(
    label: str,
    effect: Effect,
    in_doubt: InDoubt,
    key_param: str | None,
    confirm: Confirm | None,
    timeout_seconds: float,
    attempts: int,
) -> None:
    if effect not in ("read", "write"):
        raise ToolInvalid(f"the tool {label} has the effect {effect!r}; there are 'read' and 'write'")
    if in_doubt == "keyed" and key_param is None:
        raise ToolInvalid(
            f"the tool {label} is in_doubt='keyed' but takes no key", hint="add a parameter `key: IdempotencyKey`"
        )
    if in_doubt == "confirm" and confirm is None:
        raise ToolInvalid(f"the tool {label} is in_doubt='confirm' but has no look-up", hint="pass confirm=…")
    if not 0 < timeout_seconds <= 86_400:
        raise ToolInvalid(f"the tool {label} has a time-out of {timeout_seconds!r} s; 0 < time-out <= 86400")
    if not 1 <= attempts <= 10:
        raise ToolInvalid(f"the tool {label} has {attempts} attempts; there can be 1 to 10")


def _with_tries(
    tool: ToolDef, retry_on: Sequence[type[Exception]], hedge_after: float | None, needs_seconds: float
) -> ToolDef:
    label, timeout_seconds = tool.name, tool.timeout_seconds
    if hedge_after is not None and tool.effect != "read":
        raise ToolInvalid(f"the tool {label} writes, and cannot be hedged", hint="a second attempt could act twice")
    if hedge_after is not None and not 0 < hedge_after < timeout_seconds:
        raise ToolInvalid(f"the tool {label} has hedge_after={hedge_after!r}; 0 < it < timeout_seconds")
    if not 0 <= needs_seconds <= timeout_seconds:
        raise ToolInvalid(f"the tool {label} has needs_seconds={needs_seconds!r}; 0 <= it <= timeout_seconds")
    return dataclasses.replace(tool, retry_on=tuple(retry_on), hedge_after=hedge_after, needs_seconds=needs_seconds)


def _with_preview(tool: ToolDef, preview: PreviewFunction | None) -> ToolDef:
    if preview is None:
        return tool
    return dataclasses.replace(tool, preview=preview_of(tool, preview, _hints(f"{tool.name}'s preview", preview)))


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    schema.pop("title", None)
    return schema


def _reader(model: type[BaseModel]) -> Callable[[str | bytes], dict[str, Any]]:
    validate = model.__pydantic_validator__.validate_json
    dump = model.__pydantic_serializer__.to_python

    def read(raw: str | bytes) -> dict[str, Any]:
        try:
            values = validate(raw or "{}")
            plain: dict[str, Any] = dump(values, mode="json")
        except ValidationError as error:
            raise ToolArgsInvalid(_explain(error)) from error
        check_finite(values, "arguments")
        return plain

    return read


def _explain(error: ValidationError) -> str:
    """What is wrong, for the model: places and reasons, without repeating the input."""
    lines = [
        f"{'.'.join(str(place) for place in item['loc']) or 'arguments'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)[:5]
    ]
    return "; ".join(lines)


def _binder(model: type[BaseModel]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    validate = model.__pydantic_validator__.validate_python
    names = list(model.model_fields)

    def bind(plain: dict[str, Any]) -> dict[str, Any]:
        values = validate(plain)
        return {name: getattr(values, name) for name in names}

    return bind


def _returns(hint: Any) -> Callable[[Any], Any]:
    if hint in (Any, str, int, float, bool, None, type(None)) or hint is inspect.Signature.empty:
        return _same
    try:
        return TypeAdapter(hint).validate_python
    except (PydanticSchemaGenerationError, NameError):
        return _same


def _same(value: Any) -> Any:
    return value


def _digest(spec: ToolSpec, function: Callable[..., Any], declared: list[Any]) -> str:
    return hashlib.sha256(
        stable_json([spec.name, spec.description, spec.schema, declared, source_of(function)])
    ).hexdigest()


def source_of(function: Callable[..., Any]) -> str:
    """The text of a function's code, or a digest of its bytecode where there is no text: what a release pins."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return hashlib.sha256(code.co_code).hexdigest() if code else repr(type(function))
