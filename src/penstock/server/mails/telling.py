"""The loop that tells people of questions. Every server has one: they share the outbox by leases."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import msgspec

from penstock.events import ApprovalTerms
from penstock.journal.payloads import PayloadReader
from penstock.kernel.clock import Clock
from penstock.kernel.errors import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalUnknown,
    ApprovalWithdrawn,
    JournalError,
    PayloadMissing,
)
from penstock.kernel.randomness import jitter
from penstock.ports.journal import Journal
from penstock.ports.notices import Notice, State
from penstock.ports.people import PEOPLE_MAX, Person
from penstock.runs import approvals
from penstock.runs.approvals import Approval
from penstock.runs.approving.deciding import requesters
from penstock.server.mails.letter import letter
from penstock.server.mails.sending import check_settings, send
from penstock.settings import Settings

AT_ONCE = 16
LEASE_MARGIN_SECONDS = 20.0
RECIPIENTS_MAX = 50
"""Of one e-mail."""
TIDY_SECONDS = 60.0
FORGOTTEN_AT_ONCE = 1_000
STATUS_MAX_CHARS = 200
_OVER = (ApprovalDecided, ApprovalExpired, ApprovalUnknown, ApprovalWithdrawn)

_logger = logging.getLogger("penstock.server")


class Telling:
    """Tells people of questions, and of those that nobody has answered."""

    def __init__(self, journal: Journal, reader: PayloadReader, clock: Clock, settings: Settings) -> None:
        """Raises:
        SettingInvalid: no e-mail could be sent like this.
        """
        check_settings(settings)
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._settings = settings
        self._tidied_at = -(10**18)

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Tell people as long as the block runs. What is under way when it ends another server does again."""
        running = asyncio.create_task(self._run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def _run(self) -> None:
        while True:
            pause = self._settings.poll_seconds
            try:
                while await self.look() == AT_ONCE:
                    pass
                await self._tidy()
            except JournalError as error:
                _logger.warning("who is to be told cannot be looked at: %s", error.what)
                pause += jitter(0, pause)
            except Exception:  # whatever it is, others are told
                _logger.exception("telling people of questions failed")
            await self._clock.sleep(pause)

    async def look(self) -> int:
        """Do what is due, up to `AT_ONCE`; how many there were.

        Raises:
            JournalError: the store cannot be reached.
        """
        lease = self._settings.smtp_timeout_seconds + LEASE_MARGIN_SECONDS
        taken = await self._journal.questions.notices.take(AT_ONCE, lease)
        await asyncio.gather(*(self._handle(notice) for notice in taken))
        return len(taken)

    async def _handle(self, notice: Notice) -> None:
        state: State
        try:
            state, words = await self._tell(notice)
        except JournalError:
            raise
        except Exception:  # a bug: it must not be tried for ever without being counted
            _logger.exception("telling of the question %s failed", notice.approval)
            state, words = self._later(notice), "the server failed to tell"
        again = self._pause(notice) if state == "waiting" else 0.0
        await self._journal.questions.notices.settle(notice, state, words[:STATUS_MAX_CHARS], again)

    async def _tell(self, notice: Notice) -> tuple[State, str]:
        try:
            approval = await approvals.get(self._journal, self._reader, notice.tenant, notice.approval)
        except _OVER as error:
            return "moot", error.code
        except PayloadMissing:
            return "moot", "its arguments were erased"
        terms = approval.terms or ApprovalTerms()
        notice = replace(notice, question=approval.question)
        if notice.kind == "asked" and terms.escalate_after_seconds:
            due = approval.asked_at + int(terms.escalate_after_seconds * 1e6) - await self._journal.now()
            await self._journal.questions.notices.add(replace(notice, kind="escalated"), max(0, due) / 1e6)
        if notice.kind == "escalated":
            facts = {"run": str(notice.run), "agent": notice.agent, "approval": notice.approval, "tool": notice.tool}
            facts |= {"question": notice.question, "to": " ".join(terms.escalate_to)}
            await self._journal.questions.notices.tell_escalated(notice, msgspec.json.encode(facts))
        if not self._settings.smtp_host:
            return "moot", "no SMTP server is set"
        wanted = terms.escalate_to if notice.kind == "escalated" else terms.roles
        recipients = await self._recipients(approval, wanted)
        if not recipients:
            return "moot", f"nobody who is {' or '.join(wanted) or 'to decide'} has an address"
        mail = letter(notice, self._settings.smtp_from, self._settings.public_url)
        sent = await send(mail, recipients, self._settings)
        if sent.ok:
            return "sent", sent.words
        return self._later(notice) if sent.again else "dead", sent.words

    async def _recipients(self, approval: Approval, roles: Iterable[str]) -> list[str]:
        """Addresses of those who hold one of the roles, without those who asked for the run."""
        row = await self._journal.get_run(approval.tenant, approval.run)
        asked = await requesters(self._journal, row) if row is not None else set()
        wanted = set(roles)
        found: list[Person] = []
        after = ""
        while len(found) < RECIPIENTS_MAX:
            page = await self._journal.questions.people.page(approval.tenant, after, PEOPLE_MAX)
            found += [
                person
                for person in page
                if person.mail
                and not person.barred
                and person.actor not in asked
                and (not wanted or wanted & set(person.roles))
            ]
            if len(page) < PEOPLE_MAX:
                break
            after = page[-1].actor
        return list(dict.fromkeys(person.mail for person in found))[:RECIPIENTS_MAX]

    def _later(self, notice: Notice) -> State:
        return "waiting" if notice.attempts < self._settings.smtp_attempts else "dead"

    def _pause(self, notice: Notice) -> float:
        # Full jitter, as of webhooks: AWS Architecture Blog, "Exponential Backoff And Jitter".
        bound = self._settings.smtp_backoff_seconds * 2.0 ** min(notice.attempts - 1, 60)
        return jitter(0, min(bound, self._settings.smtp_backoff_max_seconds))

    async def _tidy(self) -> None:
        now = self._clock.boot_ns()
        if now - self._tidied_at < TIDY_SECONDS * 1e9:
            return
        keep = self._settings.notice_keep_seconds
        tidied = await self._journal.questions.tidy(keep, FORGOTTEN_AT_ONCE)
        if max(tidied, await self._journal.questions.notices.forget(keep, FORGOTTEN_AT_ONCE)) < FORGOTTEN_AT_ONCE:
            self._tidied_at = now
