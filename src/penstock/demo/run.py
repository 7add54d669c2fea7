"""The whole demo: three modes on the same tickets, a sweep over spiral rates, three live proofs."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

from penstock.adapters.embeddings import WordLlamaEmbedder
from penstock.adapters.postgres.embedded import start_embedded
from penstock.adapters.simulated import NAME, NearestExamples
from penstock.demo.bank import Bank
from penstock.demo.governed_mode import Governed, dismiss, work_governed
from penstock.demo.options import SWEEP_RATES, DemoOptions, NoProgress, Progress
from penstock.demo.plain_modes import SAFETY_STEPS, STEP_LIMIT, work_plainly
from penstock.demo.proofs import prove_all
from penstock.demo.result import DemoResult, ModeResult, Proof, SweepPoint
from penstock.demo.stage import Stage
from penstock.demo.tickets import Ticket, packaged_tickets, read_tickets
from penstock.kernel.randomness import token_bytes
from penstock.settings import Settings, load_settings
from penstock.wiring import Models, open_penstock

TENANT = "demo"
DEFAULT_TICKETS = 300


async def run_demo(
    options: DemoOptions, progress: Progress | None = None, settings: Settings | None = None
) -> DemoResult:
    """Run the demo on the configured database (or the embedded one).

    Raises:
        UsageError: options, the tickets file or the model's name are not acceptable; nothing was done.
        JournalError: the database cannot be started, reached or used.
    """
    if options.model == NAME:
        options = dataclasses.replace(options, model=None)
    tickets = _tickets(options)
    settings = settings or load_settings()
    if options.model is not None:
        Models(settings).find(options.model)
    async with _open_stage(options, tickets, settings, progress or NoProgress()) as stage:
        modes, main = await _three_modes(stage, options.spiral_rate, "m", TENANT, "")
        sweep = await _sweep(stage, modes) if options.sweep and options.model is None else ()
        proofs: dict[str, Proof] = {}
        if options.proofs:
            proofs = await prove_all(stage, main)
    return DemoResult(
        simulated=options.model is None,
        model=options.model or NAME,
        tickets=len(tickets),
        seed=options.seed,
        spiral_rate=options.spiral_rate,
        modes=modes,
        sweep=sweep,
        proofs=proofs,
    )


def _tickets(options: DemoOptions) -> list[Ticket]:
    if options.tickets_file is not None:
        return read_tickets(options.tickets_file, options.tickets)
    return packaged_tickets(DEFAULT_TICKETS if options.tickets is None else options.tickets, options.seed)


@contextlib.asynccontextmanager
async def _open_stage(
    options: DemoOptions, tickets: list[Ticket], settings: Settings, progress: Progress
) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        advance = progress.stage("starting the database and the model", 2)
        dsn = settings.database_url
        if dsn is None:
            server = await start_embedded(settings.data_dir)
            stack.push_async_callback(server.close)
            dsn = server.dsn
        settings = dataclasses.replace(settings, database_url=dsn, worker_concurrency=options.concurrency)
        bank = await Bank.open(dsn)
        stack.push_async_callback(bank.close)
        advance(1)
        examples = NearestExamples(WordLlamaEmbedder())
        await asyncio.to_thread(examples.load)
        advance(2)
        yield Stage(options, tickets, settings, bank, examples, progress, token_bytes(3).hex())


async def _three_modes(
    stage: Stage, rate: float, mark: str, tenant: str, title: str
) -> tuple[dict[str, ModeResult], Governed]:
    modes: dict[str, ModeResult] = {}
    count = len(stage.tickets)
    for name, words, steps in (
        ("ungoverned", "without limits", SAFETY_STEPS),
        ("step_limit", f"with a limit of {STEP_LIMIT} steps", STEP_LIMIT),
    ):
        modes[name] = await work_plainly(
            stage.bank,
            await stage.world(f"{name[0]}{mark}"),
            stage.model(rate),
            max_steps=steps,
            concurrency=stage.options.concurrency,
            advance=stage.progress.stage(f"{title}{words}", count),
        )
    governed = await _govern(stage, rate, mark, tenant, stage.progress.stage(f"{title}under Penstock", count))
    return {**modes, "governed": governed.result}, governed


async def _govern(stage: Stage, rate: float, mark: str, tenant: str, advance: Callable[[int], None]) -> Governed:
    world = await stage.world(f"g{mark}")
    settings = dataclasses.replace(stage.settings, tenant=tenant)
    # The release must tell desks of different demos and rates apart, or their workers would take each other's runs.
    extra = {"world": world.code} if stage.options.model is None else None
    async with open_penstock(settings, worker=f"demo-{world.code}") as platform:
        governed = await work_governed(platform, stage.bank, world, stage.model(rate), extra=extra, advance=advance)
        if tenant != TENANT:
            await dismiss(platform, governed.runs)
    return governed


async def _sweep(stage: Stage, known: dict[str, ModeResult]) -> tuple[SweepPoint, ...]:
    points = []
    for number, rate in enumerate(SWEEP_RATES):
        modes = known
        if rate != stage.options.spiral_rate:
            modes, _ = await _three_modes(stage, rate, str(number), f"{TENANT}-sweep", f"{rate:.0%} spirals, ")
        points.append(SweepPoint(rate, modes))
    return tuple(points)
