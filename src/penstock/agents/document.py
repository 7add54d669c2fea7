"""A document in an agent's hands: what the session holds, or what agents share."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import to_jsonable_python

from penstock.gates.document_gate import Place, read_document, write_document
from penstock.gates.order.branches import CURRENT
from penstock.gates.run.context import RunContext
from penstock.kernel.errors import DocumentConflict, GateMisused

UPDATE_ATTEMPTS = 20


class Document:
    """Plain JSON under a name, in versions. Made by ``run.session`` and ``run.document(name)``.

    A write goes over the version that was last read or written through this object: by the same branch of the run, else
    by the code around it, else inside it (of several branches, the oldest). So branches side by side do not overwrite
    each other unseen.
    """

    def __init__(self, context: RunContext, place: Place) -> None:
        self._context = context
        self._place = place
        self._versions: dict[str, int] = {}  # by the prefix of the branch that read or wrote it last

    @property
    def name(self) -> str:
        return self._place.name

    @property
    def version(self) -> int | None:
        """The version that a write would go over; 0 = there was none yet, None = nothing was read or written here."""
        prefix = _prefix()
        inner = [version for known, version in self._versions.items() if known.startswith(prefix)]
        while prefix and prefix not in self._versions:
            prefix = "".join(f"{part}." for part in prefix.split(".")[:-3])  # without the call and the branch in it
        return self._versions.get(prefix, min(inner, default=None))

    async def get(self) -> Any:
        """What it holds, as plain JSON; None when it was never written, or erased."""
        known = await read_document(self._context, self._place)
        self._versions[_prefix()] = known.version
        return known.value

    async def put(self, value: Any, *, expected_version: int | None = None) -> int:
        """Write it; the new version. ``expected_version``: over that one instead (0: there must be none yet).

        Raises:
            DocumentConflict: another version stands there; nothing was written.
            GateMisused: a shared document that was not read before.
            InputInvalid, InputTooLarge: the value is no plain JSON, or over ``document_max_bytes``.
        """
        expected = self.version if expected_version is None else expected_version
        if expected is None and self._place.kind == "shared":
            raise GateMisused(
                f"the document {self.name} was written without having been read",
                hint="read it first, use `update`, or pass expected_version (0 = there must be none yet)",
            )
        if expected is None:
            await self.get()
            expected = self.version or 0
        written = await write_document(self._context, self._place, expected, value)
        if written.answer != "written":
            raise DocumentConflict(
                f"the {self._place.kind} document {self.name} is at version {written.version}, not {expected}",
                version=written.version,
            )
        self._versions[_prefix()] = written.version
        return written.version

    async def update(self, function: Callable[[Any], Any | Awaitable[Any]], *, attempts: int = UPDATE_ATTEMPTS) -> Any:
        """Write ``function(what it holds)``, reading again when somebody else was faster; the new value, plain.

        ``function`` gets None when there is nothing yet, and is called again for each attempt, and in replay.

        Raises:
            DocumentConflict: somebody else was faster ``attempts`` times.
            GateMisused: the function returned None, as one does that only changes what it was given.
            InputInvalid, InputTooLarge: as `put`.
        """
        if attempts < 1:
            raise GateMisused(f"attempts is {attempts}", hint="allow at least one")
        latest = 0
        for conflicts in range(attempts):
            known = await read_document(self._context, self._place, conflicts)
            value = function(known.value)
            if inspect.isawaitable(value):
                value = await value
            if value is None:
                raise GateMisused(
                    f"the function that updates {self.name} returned None",
                    hint="return the new value; write null with `put`",
                )
            written = await write_document(self._context, self._place, known.version, value)
            latest = written.version
            if written.answer == "written":
                self._versions[_prefix()] = latest
                return to_jsonable_python(value, inf_nan_mode="constants")
        raise DocumentConflict(
            f"the {self._place.kind} document {self.name} was written by others {attempts} times in a row;"
            f" it is at version {latest}",
            version=latest,
        )


def _prefix() -> str:
    """Of the paths of the calls that the calling branch makes."""
    branch = CURRENT.get()
    return branch.prefix if branch is not None else ""
