"""Stages of an agent: what it does before its own work, and what it does with the answer."""

from typing import ClassVar

from penstock.events.envelope import Event, Failure


class StageEntered(Event, tag="stage.entered"):
    """The stage at ``path`` begins; its calls have paths that begin with ``<path>.0.``."""

    since: ClassVar[int] = 2

    name: str  # prepare | consequence | compensate


class StageEnded(Event, tag="stage.ended"):
    """The stage is over. ``payloads.value`` is what it gave; a recovery takes it from there and makes no call again.

    ``payloads.partial`` is what it wanted handed over should the run be stopped, if it said anything.
    """

    since: ClassVar[int] = 2

    name: str
    failure: Failure | None = None
