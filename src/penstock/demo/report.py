"""One screen, 100 columns wide: what the three modes cost and did, and what of it was proven."""

from collections.abc import Callable, Sequence
from statistics import median

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.demo.judge import Outcome
from penstock.demo.result import MODES, DemoResult, ModeResult, SweepPoint
from penstock.kernel.money import show_usd

WIDTH = 100
_TITLES = {"ungoverned": "no limits", "step_limit": "step limit", "governed": "Penstock"}


def render(result: DemoResult) -> RenderableType:
    """The whole report."""
    parts: list[RenderableType] = [_headline(result), Text(), _modes(result), _paired(result), Text()]
    if result.sweep:
        parts += [_sweep(result.sweep), _overhead(result.sweep), Text()]
    parts += [_proof(proof.held, proof.title, proof.words) for proof in result.proofs.values()]
    return Group(*parts, *_closing(result))


def _headline(result: DemoResult) -> Text:
    text = Text(f"{result.tickets} tickets, worked three ways", style="bold")
    if result.simulated:
        text.append(f" · {result.model}, priced like openai:gpt-4o; no money was spent", "yellow")
    else:
        text.append(f" · {result.model}", "not bold")
    text.append(f" · seed {result.seed}", "dim")
    return text


def _modes(result: DemoResult) -> Table:
    table = _table("")
    for label, show in _ROWS:
        table.add_row(label, *(show(result.modes[name]) for name in MODES))
    return table


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, width=WIDTH, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column(title, width=37, no_wrap=True)
    for name in MODES:
        table.add_column(_TITLES[name], justify="right", width=19, style="bold" if name == "governed" else "")
    return table


def _share(mode: ModeResult, outcome: Outcome) -> str:
    return f"{mode.count(outcome)} ({mode.count(outcome) / len(mode.outcomes):.0%})"


def _stopped(mode: ModeResult) -> str:
    if not mode.stopped_at:
        return f"{mode.spirals} · 0"
    return f"{mode.spirals} · {len(mode.stopped_at)} (at {median(mode.stopped_at):.0f})"


_ROWS: tuple[tuple[str, Callable[[ModeResult], str]], ...] = (
    ("cost in total", lambda mode: show_usd(mode.total)),
    ("a ticket: mean · P50", lambda mode: f"{show_usd(mode.mean)} · {show_usd(mode.cost(0.5))}"),
    ("a ticket: P95 · P99", lambda mode: f"{show_usd(mode.cost(0.95))} · {show_usd(mode.cost(0.99))}"),
    ("worst ticket", lambda mode: show_usd(max(mode.nano))),
    ("correct", lambda mode: _share(mode, Outcome.CORRECT)),
    ("harmful", lambda mode: _share(mode, Outcome.HARMFUL)),
    ("waiting for a person", lambda mode: _share(mode, Outcome.WAITING)),
    ("lost: no reply, or the need not met", lambda mode: _share(mode, Outcome.LOST)),
    ("spirals · stopped (at median call)", _stopped),
    ("prohibited: attempted · executed", lambda mode: f"{mode.prohibited_attempted} · {mode.prohibited_executed}"),
    ("routing accuracy by the labels", lambda mode: "–" if mode.accuracy is None else f"{mode.accuracy:.1%}"),
    ("model calls · tool calls", lambda mode: f"{mode.model_calls:,} · {mode.tool_calls:,}"),
    ("wall time", lambda mode: f"{mode.wall_seconds:.1f} s"),
)


def _paired(result: DemoResult) -> Text:
    paired = result.paired
    saved = 1 - result.modes["governed"].total / max(1, result.modes["ungoverned"].total)
    return Text(
        f"Ticket by ticket against no limits: {saved:.0%} cheaper; {paired.better} ended better, "
        f"{paired.now_waiting} wait for a person instead, {paired.worse} ended worse."
    )


def _sweep(points: Sequence[SweepPoint]) -> Table:
    table = _table("mean cost of a ticket by spiral rate")
    for point in points:
        table.add_row(f"{point.rate:.0%}", *(show_usd(point.modes[name].mean) for name in MODES))
    return table


def _overhead(points: Sequence[SweepPoint]) -> Text:
    calm = min(points, key=lambda point: point.rate)
    plain, governed = calm.modes["ungoverned"], calm.modes["governed"]
    tickets = len(governed.nano)
    # Held and handed-over tickets stop early and would flatter Penstock: only what both finished is compared.
    both = [
        (before, after)
        for before, after, one, other in zip(plain.nano, governed.nano, plain.outcomes, governed.outcomes, strict=True)
        if one is other is Outcome.CORRECT
    ]
    change = sum(after for _, after in both) / max(1, sum(before for before, _ in both)) - 1
    milliseconds = (governed.wall_seconds - plain.wall_seconds) / tickets * 1000
    return Text(
        f"When nothing goes wrong ({calm.rate:.0%} spirals, the {len(both)} tickets that both finished) Penstock costs "
        f"{change:+.1%} in tokens and {milliseconds:.1f} ms of wall time a ticket, everything durable."
    )


def _proof(held: bool, title: str, words: str) -> Text:
    text = Text("✓ " if held else "✗ ", style="green" if held else "bold red")
    text.append(f"{title}: ", "bold")
    text.append(words, "not bold default")
    return text


def _closing(result: DemoResult) -> list[Text]:
    limits = (
        "What this does not prove: the model is simulated and its rates are set by hand, so the savings show the "
        "mechanism, not your traffic; the bank is small and local; it all ran on one machine."
        if result.simulated
        else "What this does not prove: one model, tried once, a small local bank; the proofs used a simulated one."
    )
    return [
        Text(limits, style="dim"),
        Text("Try next: ", style="dim").append(
            "export PENSTOCK_TENANT=demo; penstock approvals ls · runs ls · runs show ID · audit verify. "
            "penstock demo --spiral-rate 0.3 --seed 8 · --model openai:gpt-5-mini · --tickets-file yours.csv",
            "not dim",
        ),
    ]
