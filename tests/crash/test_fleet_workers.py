"""Worker processes under load are killed, and stopped for longer than their leases; others take over."""

from pathlib import Path

import pytest
from tests.crash import verdict
from tests.crash.fleet import Fleet, Slot
from tests.crash.length import RATE, SEEDS, TIMEOUT, seconds_of
from tests.crash.server import Server
from tests.crash.trial import Load, Trial, client

pytestmark = [pytest.mark.crash, pytest.mark.timeout(TIMEOUT)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_workers_are_killed_and_stopped(server: Server, short_tmp: Path, seed: int) -> None:
    fleet = Fleet(short_tmp, [Slot(number, server.address) for number in range(3)])
    faults = {
        "kill": fleet.kill,
        "stop": fleet.stop,
        "stop in call": fleet.stop_in_a_call,
        "stop at intents": fleet.stop_at_intents(lambda: server),
    }
    async with client(server.socket) as penstock, fleet:
        trial = Trial("workers", seed, fleet, lambda: server, Load(penstock, fleet.ledger, RATE))
        await trial.run(faults, (0.2, 0.7), seconds_of(4.0), at_a_time=2)
        await verdict.check(trial, penstock)
