"""What a run has done and seen so far, for the checks of a tool that look further than its arguments."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["open", "ok", "error"]


@dataclass(slots=True)
class CaseCall:
    """A call of a tool that may have had its effect.

    Attributes:
        args: plain; None = they are not known (erased, or nobody asked for those of this tool).
        result: plain; None unless ``state`` is ``ok`` and some check asks for those of this tool.
        state: ``open``: under way, or in doubt; ``error``: it failed, perhaps after its effect.
        at: microseconds since the epoch, the store's time.
    """

    tool: str
    args: Any = None
    result: Any = None
    state: State = "open"
    at: int = 0


@dataclass(slots=True)
class Case:
    """The run as a check sees it.

    Attributes:
        calls: by call path, in the order in which they began; without those that certainly did nothing.
        tool, path: of the call that is asked about; by `of` it is left out.
        now: microseconds since the epoch, the store's time.
        forgotten: tools of which not all calls are here any more.
    """

    agent: str = ""
    tool: str = ""
    environment: str = ""
    input: Any = None
    tags: Mapping[str, str] = field(default_factory=dict)
    calls: dict[str, CaseCall] = field(default_factory=dict)
    path: str = ""
    now: int = 0
    forgotten: set[str] = field(default_factory=set)

    def of(self, *tools: str) -> Iterator[CaseCall]:
        """The other calls of these tools, oldest first."""
        return (call for path, call in self.calls.items() if path != self.path and call.tool in tools)
