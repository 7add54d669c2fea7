"""All at once: workers killed and stopped, the server killed, sessions and connections cut, black holes."""

from pathlib import Path

import pytest
from tests.crash import verdict
from tests.crash.fleet import Fleet, Slot
from tests.crash.length import RATE, SECONDS, SEEDS, TIMEOUT
from tests.crash.network import Wires, proxies
from tests.crash.server import Server
from tests.crash.trial import Load, Trial, client

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(TIMEOUT),
    pytest.mark.skipif(SECONDS == 0, reason="only in the long form: make crash"),
]


@pytest.mark.parametrize("seed", SEEDS)
async def test_everything_at_once(server: Server, short_tmp: Path, seed: int) -> None:
    async with proxies(server.address, 4) as made:
        wires = Wires(made)
        fleet = Fleet(short_tmp, [Slot(number, proxy.address) for number, proxy in enumerate(made)])
        faults = {
            "kill": fleet.kill,
            "stop": fleet.stop,
            "stop in call": fleet.stop_in_a_call,
            "crash": server.crash,
            "session": server.crash_one_session,
            "terminate": server.cut_sessions,
            "reset": wires.cut,
            "swallow": wires.swallow,
        }
        async with client(server.socket) as penstock, fleet:
            trial = Trial("everything", seed, fleet, lambda: server, Load(penstock, fleet.ledger, RATE))
            await trial.run(faults, (0.1, 0.6), SECONDS, at_a_time=3)
            await verdict.check(trial, penstock)
