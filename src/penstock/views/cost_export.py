"""The sums of hours, given away: as plain CSV, as Parquet, and as FOCUS, the cost format of the FinOps Foundation.

A row is what runs with the same names that ended in the same hour spent, by model and kind of call. Money is exact: in
CSV and Parquet as integer nano-dollars, and beside it, like in FOCUS, as a decimal with nine places.

FOCUS is version 1.2 (https://focus.finops.org/focus-specification/v1-2/): all its mandatory columns, those conditional
ones that apply here, and our own with the prefix ``x_``, as it provides. Costs are list costs: what a provider's
contract takes off is not known here. A model's provider is the provider, publisher and issuer of the invoice.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import UUID

from penstock.kernel.errors import ParquetMissing
from penstock.ports.journal import Journal
from penstock.ports.usage import CLASSES, DIMENSIONS, HOUR, HourRow
from penstock.views.costs import cell

Format = Literal["csv", "focus"]
FOCUS_VERSION = "1.2"
PAGE = 1_000
COLUMNS = (
    *("hour", *DIMENSIONS, "tags", "runs", "model_calls", "tokens_in", "tokens_out"),
    *CLASSES,
    *("nano_usd", "nano_usd_at_maximum", "usd"),
)
"""Columns of CSV and of Parquet. ``hour``: its beginning, UTC."""

FOCUS_COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    *(f"x_{name}" for name in ("Model", "Kind", "Agent", "Release", "NanoUsd", "NanoUsdAtMaximum", "Runs")),
    *(f"x_{name}" for name in ("ModelCalls", "TokensIn", "TokensOut", "TokensCached", "TokensReasoning")),
)
_TAGS = ("customer", "feature", "task_type", "user")


async def export_rows(
    journal: Journal, tenant: str, since: int, until: int, where: Mapping[str, str] | None = None
) -> AsyncIterator[list[HourRow]]:
    """The sums of hours that begin in ``[since, until)``, page by page, in order; without rows that only count runs."""
    after: tuple[int, UUID] | None = None
    while True:
        page = await journal.usage.hours(tenant, since, until, where or {}, after, PAGE)
        if found := [row for row in page if row.nano or row.tokens_in or row.model_calls]:
            yield found
        if len(page) < PAGE:
            return
        after = page[-1].hour, page[-1].slot


def as_text(form: Format, tenant: str) -> "Writer":
    """A writer of CSV or FOCUS: what it gives back is to be put out as it comes."""
    return _Focus(tenant) if form == "focus" else _Csv()


class Writer(Protocol):
    """Turns rows into text, piece by piece."""

    def head(self) -> str:
        """What comes first."""
        ...

    def rows(self, rows: list[HourRow]) -> str:
        """Further rows."""
        ...


class _Csv:
    def head(self) -> str:
        return _lines([COLUMNS])

    def rows(self, rows: list[HourRow]) -> str:
        return _lines([[_time(row.hour), *_plain(row)] for row in rows])


class _Focus:
    def __init__(self, tenant: str) -> None:
        self._tenant = tenant

    def head(self) -> str:
        return _lines([FOCUS_COLUMNS])

    def rows(self, rows: list[HourRow]) -> str:
        return _lines([self._row(row) for row in rows])

    def _row(self, row: HourRow) -> list[Any]:
        named = dict(zip(DIMENSIONS, row.values, strict=True))
        provider, _, model = named["model"].rpartition(":")
        provider = provider or ("tools" if named["kind"] == "tool" else "unknown")
        cost, tokens = _decimal(row.nano), row.tokens_in + row.tokens_out
        tags = {name: named[name] for name in _TAGS if named[name]} | row.tags
        what = named["kind"] or "use"
        found: dict[str, Any] = {
            "BilledCost": cost,
            "BillingAccountId": self._tenant,
            "BillingAccountName": self._tenant,
            "BillingCurrency": "USD",
            **dict(zip(("BillingPeriodStart", "BillingPeriodEnd"), _month(row.hour), strict=True)),
            "ChargeCategory": "Usage",
            "ChargeClass": "",  # null: it corrects no earlier charge
            "ChargeDescription": f"{named['model'] or 'tools'}: {what} by {named['agent']}",
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodStart": _time(row.hour),
            "ChargePeriodEnd": _time(row.hour + HOUR),
            "ConsumedQuantity": tokens,
            "ConsumedUnit": "Tokens",
            "ContractedCost": cost,
            "EffectiveCost": cost,
            "InvoiceIssuerName": provider,
            "ListCost": cost,
            "PricingQuantity": tokens,
            "PricingUnit": "Tokens",
            "ProviderName": provider,
            "PublisherName": provider,
            "ServiceCategory": "AI and Machine Learning",
            "ServiceName": model or "tools",
            "ServiceSubcategory": "Generative AI",
            "SubAccountId": named["customer"],
            "SubAccountName": named["customer"],
            "Tags": json.dumps(tags, sort_keys=True, ensure_ascii=False),
            "x_Model": named["model"],
            "x_Kind": named["kind"],
            "x_Agent": named["agent"],
            "x_Release": named["release"],
            "x_NanoUsd": row.nano,
            "x_NanoUsdAtMaximum": row.nano_at_maximum,
            "x_Runs": row.runs,
            "x_ModelCalls": row.model_calls,
            "x_TokensIn": row.tokens_in,
            "x_TokensOut": row.tokens_out,
            "x_TokensCached": row.classes["cached"],
            "x_TokensReasoning": row.classes["reasoning"],
        }
        return [cell(found[name]) if isinstance(found[name], str) else found[name] for name in FOCUS_COLUMNS]


class ParquetFile(Protocol):
    """A file that is being written."""

    def add(self, rows: list[HourRow]) -> None:
        """Further rows, as a row group of their own."""
        ...


def as_parquet(path: Path) -> AbstractContextManager[ParquetFile]:
    """A Parquet file with `COLUMNS`: ``hour`` a timestamp, ``tags`` JSON text, money both ``int64`` and decimal.

    Raises:
        ParquetMissing: pyarrow is not installed.
        OSError: the file cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ParquetMissing("Parquet files are written by pyarrow, which is not installed") from error
    kinds = dict.fromkeys(COLUMNS, pyarrow.int64())
    kinds |= dict.fromkeys((*DIMENSIONS, "tags"), pyarrow.string())
    kinds |= {"hour": pyarrow.timestamp("us", tz="UTC"), "usd": pyarrow.decimal128(38, 9)}
    schema = pyarrow.schema(list(kinds.items()))

    @contextmanager
    def opened() -> Iterator[ParquetFile]:
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            yield _Parquet(writer, schema)

    return opened()


class _Parquet:
    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema

    def add(self, rows: list[HourRow]) -> None:
        import pyarrow
        from pyarrow import compute

        table = [[row.hour, *_plain(row, safe=False)] for row in rows]
        columns = [
            # Decimals are read from text: there is no way for a binary fraction to come between.
            compute.cast(pyarrow.array(list(column)), field.type)
            if field.name == "usd"
            else pyarrow.array(list(column), field.type)
            for field, column in zip(self._schema, zip(*table, strict=True), strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))


def _plain(row: HourRow, *, safe: bool = True) -> list[Any]:
    """A row's columns after the hour. ``safe``: texts that a spreadsheet does not take for formulas."""
    texts = [*row.values, json.dumps(row.tags, sort_keys=True, ensure_ascii=False)]
    return [
        *(map(cell, texts) if safe else texts),
        *(row.runs, row.model_calls, row.tokens_in, row.tokens_out),
        *(row.classes[name] for name in CLASSES),
        *(row.nano, row.nano_at_maximum, _decimal(row.nano)),
    ]


def _lines(rows: Any) -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _decimal(nano: int) -> str:
    return f"{nano // 10**9}.{nano % 10**9:09d}"


def _time(at: int) -> str:
    return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _month(at: int) -> tuple[str, str]:
    """The beginning of its calendar month (UTC) and of the next one."""
    when = datetime.fromtimestamp(at // 1_000_000, UTC)
    begin = datetime(when.year, when.month, 1, tzinfo=UTC)
    end = datetime(when.year + when.month // 12, when.month % 12 + 1, 1, tzinfo=UTC)
    return begin.strftime("%Y-%m-%dT%H:%M:%SZ"), end.strftime("%Y-%m-%dT%H:%M:%SZ")
