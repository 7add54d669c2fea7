"""Runs whose record is not in the journal any more."""

from penstock.kernel.errors import RunPruned
from penstock.ports.journal import Journal
from penstock.ports.records import RunRow


async def pruned(journal: Journal, row: RunRow) -> RunPruned:
    """The error that says where the record of a run that is gone can be found."""
    stone = (await journal.retention.tombstones([(row.tenant, row.id)])).get((row.tenant, row.id))
    name = stone.archive if stone is not None else ""
    where = f"archived in {name}" if name else "pruned, and not archived"
    hint = f"penstock runs replay {row.id} --archive {name} --app MODULE" if name else ""
    return RunPruned(f"the record of run {row.id} is not here any more: it was {where}", hint=hint, archive=name)
