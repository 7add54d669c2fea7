"""``penstock demo``: real tickets worked three ways, and three live proofs."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from penstock.demo.options import DemoOptions, NoProgress
from penstock.demo.report import WIDTH, render
from penstock.demo.result import DemoResult
from penstock.demo.run import run_demo


class Bars:
    """Progress bars on a terminal's standard error."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def stage(self, title: str, total: int) -> Callable[[int], None]:
        """A new bar."""
        task = self._progress.add_task(title, total=total)
        return lambda done: self._progress.update(task, completed=done)


def demo(  # noqa: PLR0917 - each parameter is an option of the command
    tickets: Annotated[
        int | None, typer.Option(help="How many tickets; default 300, or all of the file's.", show_default=False)
    ] = None,
    tickets_file: Annotated[
        Path | None,
        typer.Option(help="CSV with the columns text and, if known, category.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of tickets, bank and simulated behaviour.")] = 7,
    spiral_rate: Annotated[float, typer.Option(help="Share of tickets on which the simulated model spirals.")] = 0.15,
    concurrency: Annotated[int, typer.Option(help="Tickets worked at a time.")] = 50,
    model: Annotated[
        str | None, typer.Option(help="A provider's model, such as openai:gpt-5-mini. Spends real money.")
    ] = None,
    sweep: Annotated[bool, typer.Option(help="Also work the tickets at other spiral rates.")] = True,
    proofs: Annotated[bool, typer.Option(help="Also run the three live proofs.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the report.")] = False,
) -> None:
    """Work real bank tickets without limits, with a step limit, and under Penstock; then compare.

    Without --model it uses a simulated model, works offline and costs nothing. Exit code 1: a proof did not hold.
    """
    options = DemoOptions(
        tickets=tickets,
        tickets_file=tickets_file,
        seed=seed,
        spiral_rate=spiral_rate,
        concurrency=concurrency,
        model=model,
        sweep=sweep,
        proofs=proofs,
    )
    errors = Console(stderr=True)
    if errors.is_terminal:
        with Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
        ) as bars:
            result = asyncio.run(run_demo(options, Bars(bars)))
    else:
        result = asyncio.run(run_demo(options, NoProgress()))
    if as_json:
        sys.stdout.write(json.dumps(result.as_json(), ensure_ascii=False) + "\n")
    else:
        _print(result)
    if not all(proof.held for proof in result.proofs.values()):
        raise typer.Exit(1)


def _print(result: DemoResult) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(render(result))
