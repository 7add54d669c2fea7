"""Checking arguments against a server's JSON Schema, which is as little trusted as the server."""

from collections.abc import Callable
from typing import Any

from penstock.kernel.errors import McpToolInvalid
from penstock.ports.tools import ToolArgsInvalid

ERRORS_SHOWN = 5
_SUBSCHEMAS_MAX = 2_000


def check_schema(server: str, name: str, schema: Any) -> None:
    """Refuse what is no schema of an object.

    Raises:
        McpToolInvalid: it is not.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise McpToolInvalid(f"the tool {name} of {server} has an input schema that is not of an object")
    if _size(schema) > _SUBSCHEMAS_MAX:
        raise McpToolInvalid(f"the input schema of {name} of {server} has more than {_SUBSCHEMAS_MAX:,} parts")
    if remote := _remote(schema):
        raise McpToolInvalid(f"the input schema of {name} of {server} refers to {remote[:100]!r}, beyond itself")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise McpToolInvalid(
            f"the input schema of {name} of {server} is not a JSON Schema: {error.message[:200]}"
        ) from error
    except Exception as error:  # a regular expression or a reference that no validator can make sense of
        raise McpToolInvalid(f"the input schema of {name} of {server} cannot be read: {error}") from error


def checker(schema: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """A function that raises `ToolArgsInvalid` for arguments that do not fit.

    Regular expressions of the schema are left to the server: one that is made for it takes a checker years.
    References lead nowhere but into the schema itself.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry

    lenient = extend(Draft202012Validator, {"pattern": _passes, "patternProperties": _passes})
    validator = lenient(schema, registry=Registry())

    def check(args: dict[str, Any]) -> None:
        words: list[str] = []
        try:
            for error in validator.iter_errors(args):
                place = ".".join(str(part) for part in error.absolute_path) or "arguments"
                words.append(f"{place}: {_reason(error)}")
                if len(words) == ERRORS_SHOWN:
                    break
        except Exception as error:
            raise ToolArgsInvalid(f"the tool's schema cannot be used: {type(error).__name__}") from error
        if words:
            raise ToolArgsInvalid("; ".join(words))

    return check


def _reason(error: Any) -> str:
    """What is wrong, without repeating what was given."""
    keyword, wanted = str(error.validator), error.validator_value
    if keyword == "required" and isinstance(error.instance, dict):
        missing = [name for name in wanted if name not in error.instance]
        return f"{', '.join(map(str, missing[:5]))} is missing"
    if keyword == "additionalProperties":
        known = ", ".join(list((error.schema or {}).get("properties", {}))[:20])
        return f"a name that the tool does not know; it knows {known or 'none'}"
    return f"must be of {keyword} {str(wanted)[:100]}"


def _passes(*_: Any) -> None:
    """A keyword that is not looked at."""


def _size(value: Any) -> int:
    todo, parts = [value], 0
    while todo and parts <= _SUBSCHEMAS_MAX:
        item = todo.pop()
        parts += 1
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return parts


def _remote(schema: Any) -> str:
    """A reference out of the schema, or ''."""
    todo = [schema]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            for key in ("$ref", "$dynamicRef", "$recursiveRef"):
                where = item.get(key)
                if isinstance(where, str) and not where.startswith("#"):
                    return where
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return ""
