"""Every kind of event as it was first written. Stored journals are hashed: what these files hold must stay readable,
and must still be what the encoder writes.

A new kind, or a field added to one, needs a new file: ``python -m tests.contract.test_events_golden`` writes what is
missing and never touches what is there.
"""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from penstock.events import KINDS, Event, decode, encode, kind_of, schema_digest
from penstock.kernel.errors import EventUnreadable

GOLDEN = Path(__file__).parent / "golden"
DIGEST = GOLDEN / "schema.sha256"
FILES = sorted(GOLDEN.glob("*.json"))
BY_KIND = {kind.__struct_config__.tag: kind for kind in KINDS}


def filled(kind: type[msgspec.Struct], depth: int = 0) -> Any:
    """An instance with no field at its default. The same on every machine."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    values = {field.name: _value(field.type, field.name) for field in info.fields}
    return kind(**{**values, "v": 1} if "v" in values else values)


def _value(kind: msgspec.inspect.Type, name: str) -> Any:
    match kind:
        case msgspec.inspect.StrType():
            return f'{name} é"\\ \u2028'
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.IntType():
            return len(name) * 1_000_003
        case msgspec.inspect.FloatType():
            return 0.1
        case msgspec.inspect.UUIDType():
            return UUID(int=len(name) * 0x0190ABCD_0000_7000_8000_00000001, version=4)
        case msgspec.inspect.ListType(item_type=item):
            return [_value(item, name), _value(item, f"{name}_2")]
        case msgspec.inspect.DictType(value_type=item):
            return {"b": _value(item, name), "a": _value(item, f"{name}_2")}
        case msgspec.inspect.StructType(cls=struct):
            return filled(struct)
        case msgspec.inspect.UnionType(types=types):
            return _value(next(item for item in types if not isinstance(item, msgspec.inspect.NoneType)), name)
    raise AssertionError(f"no example for a field of type {kind}")


def missing() -> dict[str, bytes]:
    """Golden files that have yet to be written, by name: today's full form of a kind, where no file holds it."""
    found: dict[str, bytes] = {}
    for tag, kind in BY_KIND.items():
        held = [path.read_bytes() for path in FILES if path.stem.split("-")[0] == tag]
        today = encode(filled(kind))
        if today not in held:
            found[f"{tag}-{len(held) + 1}.json" if held else f"{tag}.json"] = today
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_was_written_is_read_and_written_again_to_the_byte(path: Path) -> None:
    body = path.read_bytes()
    event = decode(body)
    assert kind_of(event) == json.loads(body)["kind"]
    assert encode(event) == body


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_stored_form_is_sorted_and_has_no_spaces(path: Path) -> None:
    body = path.read_bytes()
    assert json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == body


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_event_without_a_later_field_is_read_with_its_default(path: Path) -> None:
    whole = json.loads(path.read_bytes())
    info = msgspec.inspect.type_info(BY_KIND[whole["kind"]])
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        if field.required or field.name not in whole:
            continue
        older = {name: value for name, value in whole.items() if name != field.name}
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        assert getattr(decode(json.dumps(older).encode()), field.name) == default


def test_todays_full_form_of_every_kind_has_a_golden_file() -> None:
    assert sorted(missing()) == [], "run: python -m tests.contract.test_events_golden"


def test_the_schema_has_not_changed_unnoticed() -> None:
    """A change here is a change of the stored format: add the golden files that show it, then the new digest."""
    assert schema_digest() == DIGEST.read_text().strip(), "run: python -m tests.contract.test_events_golden"


def test_a_field_of_a_later_installation_is_passed_over() -> None:
    body = json.loads((GOLDEN / "note.recorded.json").read_bytes())
    event = decode(json.dumps({**body, "field_of_tomorrow": [1]}).encode())
    assert isinstance(event, Event)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"kind":"no.such"}',
        b'{"kind":"note.recorded"}',
        b'{"kind":"run.ended","v":"x"}',
    ],
)
def test_what_cannot_be_read_says_so(body: bytes) -> None:
    with pytest.raises(EventUnreadable):
        decode(body)


def test_an_event_of_a_later_version_is_refused() -> None:
    body = json.loads((GOLDEN / "note.recorded.json").read_bytes())
    with pytest.raises(EventUnreadable, match="version 2"):
        decode(json.dumps({**body, "v": 2}).encode())


if __name__ == "__main__":
    for name, golden in missing().items():
        (GOLDEN / name).write_bytes(golden)
    DIGEST.write_text(schema_digest() + "\n")
