"""The safety net under waiting: runs that sleep although their wait is over are woken, and said to be a defect.

Nothing rests on it. A wake-up is part of the transaction that brings what is waited for, and the simulation and the
crash tests count each rescue as a failure.
"""

import logging

import msgspec

from penstock.events import RunEnded, RunSubmitted, decode
from penstock.gates.filters.taint import UNTRUSTED
from penstock.gates.run.ledger import first_ref
from penstock.gates.run.services import Services
from penstock.gates.waits.child_gate import ChildEnd
from penstock.gates.waits.continue_gate import added
from penstock.kernel.errors import RunUnknown
from penstock.ports.records import Post
from penstock.ports.wakeups import LOOKED_AT_MOST, Rescue

_logger = logging.getLogger("penstock.runs")


async def wake_overslept(services: Services) -> int:
    """Look once, when it is time to; how many runs were found asleep that should not be.

    Raises:
        JournalError: the store cannot be reached.
    """
    rescues = await services.journal.wakeups.look(services.settings.wakeup_look_seconds, LOOKED_AT_MOST)
    for rescue in rescues:
        _logger.error(
            "run %s of %s slept although its wait was over (%s); it is woken. Please report this",
            rescue.run,
            rescue.tenant,
            rescue.why,
        )
        if rescue.child is not None:
            await _tell_end(services, rescue)
    return len(rescues)


async def _tell_end(services: Services, rescue: Rescue) -> None:
    """Post the letter of a child's end that its last transaction should have posted: its record says what it says."""
    journal, tenant = services.journal, rescue.tenant
    assert rescue.child is not None
    row = await journal.get_run(tenant, rescue.child)
    if row is None:
        return
    first = decode((await journal.tape(tenant, row.id, limit=1))[0].body)
    last = decode((await journal.tape(tenant, row.id, after=row.last_seq - 1))[-1].body)
    assert isinstance(first, RunSubmitted)
    assert isinstance(last, RunEnded)
    child = first.first or row.id
    end = ChildEnd(
        child,
        last.outcome,
        row.subject,
        last.code,
        last.reason,
        added(first.carried, last.totals),
        first_ref(last, "output"),
        last.simulated,
        {row.agent: UNTRUSTED},  # what it had read is not looked for again: its answer is not trusted
    )
    post = Post(tenant, rescue.run, f"child:{child}", "child", msgspec.json.encode(end))
    try:
        await journal.deliver(post)
    except RunUnknown:  # it has ended meanwhile
        return
