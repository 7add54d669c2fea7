"""What is measured: one line a group, in the order in which they are run and shown."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(slots=True, frozen=True)
class Group:
    """A module of this folder with ``async def measure(bench: Bench) -> list[Figure]``.

    Attributes:
        name: of the module.
        needs: groups that are measured before it in the same call, for a ratio is of one call.
        scale: it takes long or fills a disk: measured with ``--scale`` or by its name only.
    """

    name: str
    needs: tuple[str, ...] = ()
    scale: bool = False

    def words(self) -> str:
        """What it measures: the first paragraph of its module."""
        tree = ast.parse((HERE / f"{self.name}.py").read_text(encoding="utf-8"))
        return " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())


GROUPS = (
    Group("startup"),
    Group("gates"),
    Group("adapter"),
    Group("append"),
    Group("fairness"),
    Group("parked"),
    Group("runs"),
    Group("pydantic_ai_runs"),
    Group("concurrency"),
    Group("peer", needs=("runs",)),
    Group("staircase"),
    Group("long"),
    Group("spirals"),
    Group("breakers"),
    Group("kill"),
    Group("policy"),
    Group("audit"),
    Group("boundary"),
    Group("toolkit"),
    Group("filters"),
    Group("budgets"),
    Group("approvals"),
    Group("cache"),
    Group("recovery", scale=True),
    Group("crowd", scale=True),
    Group("stored", scale=True),
    Group("console_reads", scale=True),
    Group("ledger", scale=True),
    Group("api", scale=True),
    Group("serve"),
    Group("viewers", scale=True),
    Group("console", scale=True),
    Group("phoenix", scale=True),
    Group("gateway", scale=True),
    Group("overspend", scale=True),
)


def chosen(only: Sequence[str], *, scale: bool, groups: Iterable[Group] = GROUPS) -> list[Group]:
    """The groups to measure, in order: those named with what they need; else those of the scale, or all others."""
    groups = tuple(groups)
    if not only:
        return [group for group in groups if group.scale is scale]
    wanted = set(only)
    for group in reversed(groups):
        if group.name in wanted:
            wanted.update(group.needs)
    return [group for group in groups if group.name in wanted]
