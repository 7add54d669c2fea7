"""The row of a run that somebody names."""

from uuid import UUID

from penstock.journal.pruned import pruned
from penstock.kernel.errors import RunUnknown
from penstock.ports.journal import Journal
from penstock.ports.records import RunRow


async def known_row(journal: Journal, tenant: str, run: UUID) -> RunRow:
    """The row of a run.

    Raises:
        RunUnknown: no such run for this tenant.
    """
    row = await journal.get_run(tenant, run)
    if row is None:
        raise RunUnknown(f"there is no run {run} for tenant {tenant!r}", hint="see `penstock runs ls`")
    return row


async def find_row(journal: Journal, tenant: str, run: UUID) -> RunRow:
    """The row of a run whose record is there.

    Raises:
        RunUnknown: no such run for this tenant.
        RunPruned: its record is not in the journal any more.
    """
    row = await known_row(journal, tenant, run)
    if row.pruned_at is not None:
        raise await pruned(journal, row)
    return row
