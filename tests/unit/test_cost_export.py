"""What was spent, given away: as CSV, Parquet and FOCUS."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from penstock.kernel.errors import ParquetMissing
from penstock.ports.usage import CLASSES, HOUR, HourRow
from penstock.views.cost_export import COLUMNS, FOCUS_COLUMNS, as_parquet, as_text

SPEC = json.loads((Path(__file__).parents[1] / "data" / "focus-1.2-columns.json").read_text())["columns"]
AT = int(datetime(2026, 12, 31, 23, tzinfo=UTC).timestamp()) * 1_000_000


def row(
    nano: int = 1_234_567_890_123, model: str = "openai:gpt-4o", kind: str = "work", customer: str = "c-7"
) -> HourRow:
    values = (customer, "inbox", "desk", "refund", model, "r1", "u-1", kind)
    classes = {**dict.fromkeys(CLASSES, 0), "cached": 40, "reasoning": 5}
    return HourRow(AT, UUID(int=1), values, {"region": "eu"}, 1, 3, 100, 20, nano, 7, classes)


def parsed(form: str, rows: list[HourRow]) -> list[dict[str, str]]:
    writer = as_text(form, "acme")  # type: ignore[arg-type]
    return list(csv.DictReader(io.StringIO(writer.head() + writer.rows(rows))))


def test_csv_has_everything_exactly() -> None:
    [line] = parsed("csv", [row()])
    assert tuple(line) == COLUMNS
    assert (line["hour"], line["customer"], line["kind"], line["user"]) == (
        "2026-12-31T23:00:00Z",
        "c-7",
        "work",
        "u-1",
    )
    assert int(line["nano_usd"]) == 1_234_567_890_123
    assert Decimal(line["usd"]) == Decimal("1234.567890123")
    assert (line["cached"], line["reasoning"], line["tokens_in"], line["audio_in"]) == ("40", "5", "100", "0")
    assert json.loads(line["tags"]) == {"region": "eu"}


def test_no_value_is_a_formula() -> None:
    for form in ("csv", "focus"):
        [line] = parsed(form, [row(customer='=HYPERLINK("http://x")')])
        assert '\'=HYPERLINK("http://x")' in line.values()
        assert '=HYPERLINK("http://x")' not in line.values()


def test_focus_has_the_columns_of_the_specification() -> None:
    """Against the specification's own list: mandatory ones are there, none is made up, nulls only where they may be."""
    known = {column["column"]: column for column in SPEC}
    mandatory = {name for name, column in known.items() if column["level"] == "Mandatory"}
    assert len(mandatory) == 21
    assert mandatory <= set(FOCUS_COLUMNS)
    own = [name for name in FOCUS_COLUMNS if name not in known]
    assert own
    assert all(name.startswith("x_") for name in own)
    assert len(set(FOCUS_COLUMNS)) == len(FOCUS_COLUMNS)
    for line in parsed("focus", [row(), row(model="", kind="tool"), row(customer=""), row(nano=0, model="house")]):
        for name, value in line.items():
            column = known.get(name)
            if column is None:
                continue
            assert value or column["nulls"], name
            if value and column["type"] == "Decimal":
                assert Decimal(value) >= 0
                assert "E" not in value
            if column["type"] == "Date/Time":
                datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            if value and column["type"] == "JSON":
                assert isinstance(json.loads(value), dict)


def test_focus_says_what_a_bill_says() -> None:
    [line] = parsed("focus", [row()])
    assert line["ChargePeriodStart"] == "2026-12-31T23:00:00Z"
    assert line["ChargePeriodEnd"] == "2027-01-01T00:00:00Z"
    assert (line["BillingPeriodStart"], line["BillingPeriodEnd"]) == ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert Decimal(line["BilledCost"]) * 10**9 == 1_234_567_890_123 == int(line["x_NanoUsd"])
    assert line["BilledCost"] == line["EffectiveCost"] == line["ListCost"] == line["ContractedCost"]
    assert (line["ProviderName"], line["ServiceName"], line["SubAccountId"]) == ("openai", "gpt-4o", "c-7")
    assert (line["ChargeCategory"], line["ServiceCategory"]) == ("Usage", "AI and Machine Learning")
    assert (line["ConsumedQuantity"], line["ConsumedUnit"]) == ("120", "Tokens")
    assert json.loads(line["Tags"])["feature"] == "inbox"
    assert json.loads(line["Tags"])["region"] == "eu"


def test_parquet_holds_money_exactly(tmp_path: Path) -> None:
    from pyarrow import parquet

    path = tmp_path / "costs.parquet"
    large = 9_007_199_254_740_993_123  # no binary fraction of 53 bits holds it
    with as_parquet(path) as file:
        file.add([row(), row(nano=large, customer="=1+1")])
        file.add([row(nano=1)])
    table = parquet.read_table(path)
    assert tuple(table.column_names) == COLUMNS
    assert table["nano_usd"].to_pylist() == [1_234_567_890_123, large, 1]
    assert table["usd"].to_pylist() == [Decimal("1234.567890123"), Decimal(large) / 10**9, Decimal("0.000000001")]
    assert [str(table.schema.field(name).type) for name in ("nano_usd", "usd", "hour")] == [
        "int64",
        "decimal128(38, 9)",
        "timestamp[us, tz=UTC]",
    ]
    assert table["hour"].to_pylist()[0] == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert table["customer"].to_pylist()[1] == "=1+1", "no spreadsheet: the value as it is"
    assert parquet.ParquetFile(path).metadata.num_row_groups == 2


def test_without_pyarrow_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParquetMissing, match="not installed") as caught:
        as_parquet(tmp_path / "costs.parquet")
    assert "penstock[parquet]" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_hour_ends_after_it_begins() -> None:
    assert AT % HOUR == 0
