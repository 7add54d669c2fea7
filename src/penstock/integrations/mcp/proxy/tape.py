"""What a session's tape says of its calls: how a call stands that nobody in this process has in hand."""

from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    Event,
    RunEnded,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    decode,
)
from penstock.gates.run.services import Services
from penstock.gates.tool.gate import ToolReturn
from penstock.journal.payloads import ref_address

PAGE = 1000
"""Events that are read at a time."""
_NOT_APPROVED = ("deny", "expired", "withdrawn", "mismatch")


@dataclass(slots=True)
class Standing:
    """How one call stands. ``approval``, ``doubt``: the question that a person has not answered yet; '' = none.
    ``asked``: a person was asked whether it may be made. ``last``: what ended it."""

    id: str
    tool: str = ""
    digest: str = ""
    approval: str = ""
    doubt: str = ""
    asked: bool = False
    last: Event | None = None


@dataclass(slots=True)
class SessionTape:
    """The tape of one session's run, read as it grows."""

    services: Services
    tenant: str
    run: UUID
    calls: dict[str, Standing] = field(default_factory=dict)
    over: RunEnded | None = None
    _seq: int = 0
    _paths: dict[str, Standing] = field(default_factory=dict)

    async def look(self) -> None:
        """Read what is new.

        Raises:
            JournalError: the store cannot be reached.
        """
        while True:
            rows = await self.services.journal.tape(self.tenant, self.run, self._seq, PAGE)
            for row in rows:
                self._seq = max(self._seq, row.seq)
                self._take(decode(row.body))
            if len(rows) < PAGE:
                return

    def _take(self, event: Event) -> None:
        match event:
            case RunEnded():
                self.over = event
            case ApprovalRequested(question="may_run"):
                call = self._call(event.path, event.call_id, event.tool, event.call_digest)
                call.approval, call.asked = event.approval, True
            case ApprovalRequested() if event.path in self._paths:
                self._paths[event.path].doubt = event.approval
            case ApprovalEdited() if event.path in self._paths:
                self._paths[event.path].approval = ""
            case ApprovalDecided() if event.path in self._paths:
                call = self._paths[event.path]
                call.approval = call.doubt = ""
                if event.decision in _NOT_APPROVED[:3]:
                    call.last = event
            case ToolIntent():
                self._call(event.path, event.call_id, event.tool, event.digest)
            case VerdictRecorded(gate="tool"):
                self._call(event.path, event.call_id, event.name, event.digest).last = event
            case ToolOutcome() if event.path in self._paths and not event.again:
                self._paths[event.path].last = event
            case _:
                pass

    def _call(self, path: str, call_id: str, tool: str, digest: str) -> Standing:
        call = self._paths.get(path)
        if call is None:
            call = self._paths[path] = self.calls[call_id] = Standing(call_id, tool, digest)
        return call

    async def returned(self, call: Standing) -> ToolReturn | None:
        """What came of a call that has ended; None while it has not.

        Raises:
            PayloadMissing: its result was erased.
            JournalError: the store cannot be reached.
        """
        last = call.last
        if isinstance(last, VerdictRecorded):
            denial = next((item for item in last.verdicts if item.verdict == "deny"), None)
            reason, code = (denial.reason, denial.code) if denial else ("", "call_denied")
            return ToolReturn("denied", None, f"denied: {reason}", code)
        if isinstance(last, ApprovalDecided):
            words = "nobody decided in time" if last.decision == "expired" else "a person denied it"
            return ToolReturn("denied", None, f"denied: {words}", f"approval_{last.decision}")
        if not isinstance(last, ToolOutcome):
            return None
        if last.status == "happened":
            return ToolReturn("ok", None, "it took effect; its answer was lost", "happened")
        if last.status != "ok":
            failure = last.failure
            return ToolReturn("error", None, failure.words if failure else last.status, failure.code if failure else "")
        if not (refs := last.payloads.get("result")):
            return ToolReturn("ok")
        row = await self.services.journal.get_run(self.tenant, self.run)
        subject = row.subject if row is not None else str(self.run)
        data = await self.services.reader.read(self.tenant, subject, ref_address(refs[0]))
        return ToolReturn("ok", msgspec.json.decode(data))
