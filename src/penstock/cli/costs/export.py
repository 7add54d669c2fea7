"""``penstock costs export``."""

import sys
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from penstock.cli.costs.stretch import Begin, End, Only, moment, only_of
from penstock.cli.exits import ExitCode
from penstock.cli.opening import OpenJournal, execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import note, print_json
from penstock.kernel.errors import UsageError

Form = Annotated[str, typer.Option("--format", help="csv, parquet (needs penstock[parquet]) or focus (FOCUS 1.2).")]
Target = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write; without it, standard output.")]


def export(
    form: Form = "csv",
    since: Begin = "30d",
    until: End = None,
    only: Only = None,
    output: Target = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Write what ended runs have spent, by the hour: every name, every class of tokens, money in nano-dollars.

    Rows are of runs that ended in the hour, by model and by what was paid for. What runs spend that go on comes with
    the hour of their end. With --json, how many rows were written; needs --output.
    """
    if form not in ("csv", "parquet", "focus"):
        raise UsageError(f"--format is {form!r}", hint="csv, parquet or focus")
    if output is None and (form == "parquet" or as_json):
        raise UsageError(f"{'--json' if as_json else 'parquet'} needs a file", hint="name one with --output")
    return execute(_export(form, since, until, only_of(only or []), output, tenant, as_json))


async def _export(
    form: str, since: str, until: str | None, where: dict[str, str], output: Path | None, tenant: str | None, json: bool
) -> int:
    async with opened_journal(tenant) as source:
        now = await source.journal.now()
        stretch = moment(since, now), now if until is None else moment(until, now, "--until")
        if stretch[0] >= stretch[1]:
            raise UsageError("the stretch ends before it begins")
        try:
            rows = await _write(source, form, stretch, where, output)
        except OSError as error:
            raise UsageError(f"{output} cannot be written: {error.strerror or error}") from error
        except ValueError as error:
            raise UsageError(str(error)) from error
        place = await source.journal.usage.place(source.tenant)
    counted = place.until if place else 0
    if json:
        print_json({"rows": rows, "counted_until": counted, "file": str(output)})
    elif counted < stretch[1]:
        note(f"{rows:,} rows; runs that ended in the last moments or go on are not in it yet")
    return ExitCode.OK


async def _write(
    source: OpenJournal, form: str, stretch: tuple[int, int], where: dict[str, str], output: Path | None
) -> int:
    from penstock.views.cost_export import as_parquet, as_text, export_rows

    count, pages = 0, export_rows(source.journal, source.tenant, *stretch, where)
    if form == "parquet":
        assert output is not None
        with as_parquet(output) as file:
            async for rows in pages:
                file.add(rows)
                count += len(rows)
        return count
    writer = as_text(cast("Literal['csv', 'focus']", form), source.tenant)
    target = sys.stdout if output is None else output.open("w", encoding="utf-8", newline="")
    try:
        target.write(writer.head())
        async for rows in pages:
            target.write(writer.rows(rows))
            count += len(rows)
        target.flush()
    finally:
        if output is not None:
            target.close()
    return count
