"""Workers on machines of their own lose the network for longer than their leases, and come back to a run that others
have gone on with: they can do nothing to it."""

import contextlib
from pathlib import Path

import pytest
from tests.crash import verdict
from tests.crash.fleet import LEASE_SECONDS, Fleet, Slot
from tests.crash.length import RATE, SEEDS, TIMEOUT, seconds_of
from tests.crash.network import Cables, Machines, machines
from tests.crash.server import Server
from tests.crash.trial import Load, Trial, client

pytestmark = [pytest.mark.crash, pytest.mark.timeout(TIMEOUT)]

WORKERS = ("w0", "w1", "w2")


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_partition_that_heals(short_tmp: Path, seed: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        try:
            hosts: Machines = stack.enter_context(machines(["db", *WORKERS]))
        except RuntimeError as error:
            pytest.skip(f"NOT TESTED: workers on other machines; no network namespaces here: {error}")
        short_tmp.chmod(0o755)
        server = Server(short_tmp / "pg", host=hosts.address("db"), port=5432, inside=hosts.run("db"))
        stack.push_async_callback(server.close)
        await server.create()
        slots = [Slot(number, server.address, hosts.run(name)) for number, name in enumerate(WORKERS)]
        fleet = Fleet(short_tmp, slots)
        faults = {"partition": Cables(hosts, WORKERS, LEASE_SECONDS).part}
        async with client(server.socket) as penstock, fleet:
            trial = Trial("partition", seed, fleet, lambda: server, Load(penstock, fleet.ledger, RATE))
            await trial.run(faults, (0.3, 0.9), seconds_of(2.0))
            await verdict.check(trial, penstock)
