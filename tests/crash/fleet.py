"""Several worker processes, a supervisor that replaces those that die, and what may be done to them."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
from tests.crash.fleet_agents import FOLDER, IMMORTAL, TIMEOUT
from tests.crash.ledger import Ledger
from tests.crash.server import Server

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 1.5
START_ALLOWANCE_SECONDS = 1.5
MARGIN_SECONDS = 0.6
SETTLED_AFTER_SECONDS = START_ALLOWANCE_SECONDS + TIMEOUT + MARGIN_SECONDS
"""After its intent a call in doubt is left alone for so long; a stop that is over by then is harmless anywhere."""
LATENESS_SECONDS = 0.6
"""Of which so much is kept for a machine that is slow to wake a process."""
RESTART_SECONDS = 0.1
WORKER: dict[str, str] = {
    "PENSTOCK_LEASE_SECONDS": str(LEASE_SECONDS),
    "PENSTOCK_LOOP_BLOCK_MAX_SECONDS": str(LEASE_SECONDS),
    "PENSTOCK_POLL_SECONDS": "0.2",
    "PENSTOCK_START_ALLOWANCE_SECONDS": str(START_ALLOWANCE_SECONDS),
    "PENSTOCK_DOUBT_MARGIN_SECONDS": str(MARGIN_SECONDS),
    "PENSTOCK_DATABASE_POOL_SIZE": "4",
    "PENSTOCK_DATABASE_STATEMENT_SECONDS": "2",
    "PENSTOCK_DATABASE_CONNECT_SECONDS": "60",
    "PENSTOCK_TOOL_PROCESSES": "1",
    # A run that is claimed again and again by workers that are shot before they record anything is not poisonous.
    "PENSTOCK_POISON_CLAIMS": "50",
}
_DIE_WITH_PARENT = "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL)"
_MAIN = f"{_DIE_WITH_PARENT}; from penstock.cli import main; raise SystemExit(main())"

Fault = Callable[[random.Random], Awaitable[str | None]]
"""Does its harm, heals it, and says what it did; None = there was nothing to harm."""


@dataclass(slots=True)
class Slot:
    """A place for a worker; its processes come and go."""

    number: int
    address: str
    inside: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def __str__(self) -> str:
        return f"worker {self.number} ({self.process.pid if self.process else 'gone'})"


class Fleet:
    """The workers' processes. Those that end are replaced while the fleet is open."""

    def __init__(self, folder: Path, slots: Sequence[Slot], settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.slots = list(slots)
        self.ledger = Ledger(folder / "ledger")
        self.settings = {**WORKER, **(settings or {})}
        self._stopped: list[Slot] = []
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Fleet":
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._keeping is not None
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        for slot in self.slots:
            if slot.process is not None:
                slot.process.kill()
                slot.process.wait()

    async def _keep(self) -> None:
        while True:
            for slot in self.slots:
                if not slot.lives:
                    self._start(slot)
            await asyncio.sleep(RESTART_SECONDS)

    def _start(self, slot: Slot) -> None:
        slot.starts += 1
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        environment |= {**self.settings, "PENSTOCK_DATABASE_URL": slot.address, FOLDER: str(self.ledger.folder)}
        if slot.number % 2 == 0:
            environment[IMMORTAL] = "1"
        with self.log(slot).open("ab") as log:
            slot.process = subprocess.Popen(
                [*slot.inside, sys.executable, "-c", _MAIN, "worker", "tests.crash.fleet_agents"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
            )

    def log(self, slot: Slot) -> Path:
        """Where a slot's processes write."""
        return self.folder / f"worker-{slot.number}.log"

    def last_words(self) -> str:
        """The ends of the workers' logs."""
        parts = []
        for slot in self.slots:
            lines = self.log(slot).read_text(errors="replace").splitlines()[-12:] if self.log(slot).exists() else []
            parts.append(f"worker {slot.number}, started {slot.starts} times:\n  " + "\n  ".join(lines))
        return "\n".join(parts)

    async def kill(self, rng: random.Random) -> str | None:
        """SIGKILL for one worker."""
        living = [slot for slot in self.slots if slot.lives]
        if not living:
            return None
        slot = rng.choice(living)
        assert slot.process is not None
        slot.process.kill()
        return f"kill of {slot}"

    async def stop(self, rng: random.Random) -> str | None:
        """SIGSTOP for one worker, for less or for much more than its lease; then SIGCONT. Not inside a receiver that
        knows neither keys nor fences: from the engine's last look at the clock on, no sender could make that
        harmless."""
        seconds = rng.choice((0.3 * LEASE_SECONDS, 1.3 * LEASE_SECONDS, 2.5 * LEASE_SECONDS))
        async with self._frozen(rng, inside=False) as slot:
            if slot is not None:
                await asyncio.sleep(seconds)
        return f"stop of {slot} for {seconds:.1f} s" if slot else None

    async def stop_in_a_call(self, rng: random.Random) -> str | None:
        """SIGSTOP for one worker just there: until its lease is over and others hold its run, yet not for longer than
        these leave the call alone."""
        async with self._frozen(rng, inside=True) as slot:
            if slot is None or slot.process is None:
                return None
            began = time.monotonic()
            await asyncio.sleep(1.3 * LEASE_SECONDS)
            if time.monotonic() - began > SETTLED_AFTER_SECONDS - LATENESS_SECONDS / 2:
                slot.process.kill()
                return f"stop and kill of {slot}: this machine is slow, and its effect would come later than promised"
        return f"stop of {slot} in a call that cannot be repeated"

    def stop_at_intents(self, server: Callable[[], Server]) -> Fault:
        """The worst moment for a stop: nothing can be inserted for a while, so that all that a worker does waits for
        its intents to commit; it is stopped; they commit. It goes on when others have settled what it never did."""

        async def stop(rng: random.Random) -> str | None:
            async with contextlib.AsyncExitStack() as stack:
                connection = await asyncpg.connect(server().socket, server_settings={"application_name": "test"})
                try:
                    async with connection.transaction():
                        await connection.execute("LOCK TABLE penstock.events IN SHARE ROW EXCLUSIVE MODE")
                        await asyncio.sleep(0.3)
                        slot = await stack.enter_async_context(self._frozen(rng, inside=False))
                finally:
                    await connection.close()
                if slot is None:
                    return None
                await asyncio.sleep(2.5 * LEASE_SECONDS)
            return f"stop of {slot} while its intents committed"

        return stop

    @asynccontextmanager
    async def _frozen(self, rng: random.Random, *, inside: bool) -> AsyncIterator[Slot | None]:
        """One worker, stopped while the block runs; ``inside``: whether in a receiver that knows no keys. None: there
        was none to be caught."""
        living = [slot for slot in self.slots if slot.lives and slot not in self._stopped]
        slot = rng.choice(living) if living else None
        if slot is None or slot.process is None:
            yield None
            return
        process = slot.process
        self._stopped.append(slot)
        try:
            yield slot if await self._freeze(process, inside=inside) else None
        finally:
            process.send_signal(signal.SIGCONT)
            self._stopped.remove(slot)

    async def _freeze(self, process: subprocess.Popen[bytes], *, inside: bool) -> bool:
        for _ in range(300):
            process.send_signal(signal.SIGSTOP)
            try:
                while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
                    await asyncio.sleep(0.001)
            except psutil.NoSuchProcess:
                return False
            if self.ledger.is_inside(process.pid) is inside:
                return True
            process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.004)
        return False
