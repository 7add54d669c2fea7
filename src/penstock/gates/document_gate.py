"""Reading and writing documents that outlive the run.

A read is one event. A write has two: the intent, which a stop refuses and a lost claim cannot write, and what became of
it. In between the store writes the version in one transaction that checks both once more, under the name of the run and
the call's path: made again after a crash it finds the version that it made.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec
from pydantic_core import to_jsonable_python

from penstock.events import DocumentIntent, DocumentRead, DocumentWritten
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.insist import insist
from penstock.gates.run.ledger import first_ref
from penstock.journal.documents import pack, read
from penstock.kernel.backoff import full_jitter
from penstock.kernel.canonical import MAX_SAFE_INTEGER, check_finite, check_plain, check_size, digest, stable_json
from penstock.kernel.errors import ClaimLost, DocumentUnreadable, InputInvalid
from penstock.ports.documents import Document, Kind, Write, Written
from penstock.ports.records import Stop

AGAIN_BASE_SECONDS = 0.01
AGAIN_CAP_SECONDS = 1.0
"""A read that follows a conflict waits up to so long: those who update one document at once spread out."""

UNREADABLE = DocumentUnreadable.code


@dataclass(slots=True, frozen=True)
class Known:
    """What a read gave: plain JSON and its version. None and 0 when there is none; None when it was erased."""

    value: Any
    version: int


@dataclass(slots=True, frozen=True)
class Place:
    """Which document. ``subject``: the data subject with whom its content is erased; "" = none.

    ``form``: the type that it must fit, where it is the engine's own; what does not fit is unreadable.
    """

    kind: Kind
    name: str
    subject: str = ""
    form: Any = Any

    def decode(self, data: bytes) -> Any:
        """The value of its stored JSON.

        Raises:
            DocumentUnreadable: it does not fit the form.
        """
        try:
            return msgspec.json.decode(data, type=self.form)
        except msgspec.ValidationError as error:
            raise DocumentUnreadable(f"the {self.kind} document {self.name} is not in its form: {error}") from error

    @property
    def words(self) -> str:
        return f"{self.kind} {self.name}"


async def read_document(ctx: RunContext, place: Place, conflicts: int = 0) -> Known:
    """What a document holds now; in replay, what it held then.

    ``conflicts``: how many writes in a row came to nothing before; the more, the longer it waits, at random.

    Does not return when it cannot be read: it is quarantined, and the run ends as ``escalated``.
    """
    call = ctx.enter("document read", place.words, "")
    event = call.last
    if isinstance(event, DocumentRead):
        ref = first_ref(event, "value")
        data = await ctx.load(ref) if ref else b""
        await ctx.replay(call)
        if event.status == "unreadable":
            ctx.schedule.hold(call.branch)
            await _escalate(ctx, place, event.reason)
    else:
        await ctx.schedule.live(call.path)
        event, data = await ctx.perform(call, _read(ctx, call, place, conflicts))
    return Known(place.decode(data) if data else None, event.version)


async def _read(ctx: RunContext, call: Call, place: Place, conflicts: int) -> tuple[DocumentRead, bytes]:
    if conflicts:
        pause = full_jitter(conflicts, AGAIN_BASE_SECONDS, AGAIN_CAP_SECONDS)
        await ctx.interruptible(call.branch, ctx.services.clock.sleep(pause))
    version, status, data, reason = await _stored(ctx, place)
    payloads = {"value": [ctx.log.payload(data)]} if data else {}
    event = ctx.event(
        DocumentRead,
        call.path,
        of=place.kind,
        name=place.name,
        version=version,
        status=status,
        reason=reason,
        payloads=payloads,
    )
    ctx.record(call, event)
    if status == "unreadable":
        await _escalate(ctx, place, reason)
    return event, data


async def _stored(ctx: RunContext, place: Place) -> tuple[int, str, bytes, str]:
    """Version, status, content, and why it is unreadable. What is unreadable is quarantined before this returns."""
    documents = ctx.services.journal.documents
    while True:
        known: Document | None = await insist(ctx, lambda: documents.get(ctx.claim.tenant, place.kind, place.name))
        if known is None:
            return 0, "absent", b"", ""
        version = known.latest.version
        if known.state == "quarantined":
            return version, "unreadable", b"", f"it is quarantined: {known.reason}"
        try:
            data = read(known.latest)
            if data is not None:
                place.decode(data)
        except DocumentUnreadable as error:
            reason = error.what
            await insist(
                ctx,
                lambda version=version, reason=reason: documents.quarantine(  # type: ignore[misc]
                    ctx.claim.tenant, place.kind, place.name, version, reason, ctx.run_id
                ),
            )
            continue  # it is quarantined now, or somebody has written a new version meanwhile
        return version, "erased" if data is None else "ok", data or b"", ""


async def write_document(ctx: RunContext, place: Place, expected: int, value: Any) -> Written:
    """Write a new version over the expected one, once; or learn which version stands there instead.

    Does not return when the document is quarantined: the run ends as ``escalated``.

    Raises:
        InputInvalid, InputTooLarge: the value is no plain JSON, or over ``document_max_bytes``.
    """
    if type(expected) is not int or not 0 <= expected <= MAX_SAFE_INTEGER:
        raise InputInvalid(f"{expected!r} is no version of a document", hint="pass the number, or 0 for none yet")
    try:
        plain = to_jsonable_python(value, inf_nan_mode="constants")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputInvalid(f"a value of type {type(value).__name__} has no JSON form") from error
    check_plain(plain, "a document")
    check_finite(value, "a document")
    limit = ctx.services.settings.document_max_bytes
    data = check_size(stable_json(plain), limit, "a document", "document_max_bytes")
    call = ctx.enter("document write", place.words, digest([expected, plain]), shown=plain)
    event = call.last
    if isinstance(event, DocumentWritten):
        await ctx.replay(call)
        if event.status == "unreadable":
            ctx.schedule.hold(call.branch)
            await _escalate(ctx, place, event.reason)
    else:
        await ctx.schedule.live(call.path)
        event = await ctx.perform(call, _write(ctx, call, place, expected, data))
    assert isinstance(event, DocumentWritten)
    return Written("written" if event.status == "written" else "conflict", event.version)


async def _write(ctx: RunContext, call: Call, place: Place, expected: int, data: bytes) -> DocumentWritten:
    if not call.recorded:
        intent = ctx.event(
            DocumentIntent,
            call.path,
            of=place.kind,
            name=place.name,
            expected=expected,
            digest=call.identity.digest,
            payloads={"value": [ctx.log.payload(data)]},
        )
        await ctx.intend(call, intent)
    claim = ctx.claim
    write = Write(
        claim.tenant,
        place.kind,
        place.name,
        expected,
        pack(data, place.subject),
        claim.run,
        call.path,
        claim.epoch,
        ctx.tape.submitted.agent,
    )
    keep = ctx.services.settings.document_versions_kept
    written = await insist(ctx, lambda: ctx.services.journal.documents.put(write, keep))
    if written.answer == "fenced":
        raise ClaimLost(f"run {claim.run} has another holder than epoch {claim.epoch}", run=claim.run)
    if written.answer == "stopped":
        ctx.met(Stop(written.reason))
        await ctx.halt()
    unreadable = written.answer == "quarantined"
    event = ctx.event(
        DocumentWritten,
        call.path,
        of=place.kind,
        name=place.name,
        version=written.version,
        status="unreadable" if unreadable else written.answer,
        reason=f"it is quarantined: {written.reason}" if unreadable else "",
    )
    ctx.record(call, event)
    if unreadable:
        await _escalate(ctx, place, event.reason)
    return event


async def _escalate(ctx: RunContext, place: Place, reason: str) -> NoReturn:
    what = f"the {place.kind} document {place.name} cannot be used: {reason}"
    ctx.end("escalated", UNREADABLE, what, needed=[DocumentUnreadable.hint])
    await ctx.halt()
    raise AssertionError("unreachable")
