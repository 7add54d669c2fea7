"""E-mail about questions, sent to a real SMTP server: who is told what, once or marked, and what is tried again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.server.conftest import Api, served
from tests.server.test_approving import Guard, decide, payer, question

from penstock import Settings
from penstock.adapters.memory import MemoryJournal
from penstock.kernel.errors import SettingInvalid
from penstock.ports.notices import Notice
from penstock.ports.people import Person
from penstock.server.mails.sending import check_settings
from penstock.server.mails.telling import Telling


@dataclass
class Mailbox:
    """What a server was sent. ``answers``: what it says to the next mails in place of taking them."""

    answers: list[str] = field(default_factory=list)
    mails: list[tuple[list[str], Message]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    async def handle_RCPT(  # noqa: N802 - as the server calls it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append((list(envelope.rcpt_tos), message_from_bytes(content)))
        return "250 OK"

    async def arrived(self, count: int) -> list[tuple[list[str], Message]]:
        """So many mails."""
        async with asyncio.timeout(20):
            while len(self.mails) < count:
                await asyncio.sleep(0.01)
        return self.mails


@pytest.fixture
def box() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def smtp(box: Mailbox) -> AsyncIterator[dict[str, Any]]:
    """Settings that send to it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop), "127.0.0.1", 0)
    async with server:
        yield {
            "smtp_host": "127.0.0.1",
            "smtp_port": server.sockets[0].getsockname()[1],
            "smtp_security": "none",
            "smtp_from": "penstock@example.com",
            "smtp_backoff_seconds": 0.0,
            "public_url": "https://penstock.example.com/",
        }


@pytest.fixture
async def api(smtp: dict[str, Any]) -> AsyncIterator[Api]:
    async with served(MemoryJournal(), agents=[payer], **smtp) as api:
        yield api


async def known(api: Api, actor: str, *roles: str) -> None:
    """Somebody with an address."""
    mail = f"{actor.partition(':')[2]}@example.org"
    await api.journal.questions.people.put(Person("default", actor, actor, roles, mail))


async def settled(api: Api, approval: str, kind: str = "asked") -> Notice:
    """What became of a notice."""
    async with asyncio.timeout(20):
        while True:
            for notice in await api.journal.questions.notices.of("default", approval):
                if notice.kind == kind and notice.state != "waiting":
                    return notice
            await asyncio.sleep(0.01)


def words_of(mail: Message) -> str:
    """What it says."""
    content = mail.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


async def test_those_who_may_decide_are_told_without_any_content(api: Api, box: Mailbox) -> None:
    guard = Guard()
    guard.say("roles: [finance]")
    api.platform.services.policy = guard  # type: ignore[assignment]
    await known(api, "key:fay", "finance")
    await known(api, "key:gus", "finance", "lead")
    await known(api, "key:hal", "sales")
    await known(api, "key:default-operator", "finance")  # who asks for the run
    await api.journal.questions.people.put(Person("strangers", "key:eve", "eve", ("finance",), "eve@example.org"))
    asked = await question(api, 987_654)
    [(to, mail)] = await box.arrived(1)
    assert sorted(to) == ["fay@example.org", "gus@example.org"]
    assert (mail["From"], mail["To"]) == ("penstock@example.com", "undisclosed-recipients:;")
    assert mail["Subject"] == "Waits for a person: pay_out"
    assert mail["Message-ID"] == f"<asked.{asked['id']}@example.com>"
    assert mail["X-Penstock-Repeat"] is None
    text = words_of(mail)
    assert f"https://penstock.example.com/approvals/{asked['id']}" in text
    assert asked["run"] in text
    whole = mail.as_string()
    assert "987654" not in whole
    assert "o-1" not in whole
    assert (await settled(api, asked["id"])).last_status == "2 told"


async def test_what_failed_is_tried_again_and_marked_and_what_cannot_be_sent_is_given_up(
    api: Api, box: Mailbox
) -> None:
    await known(api, "key:fay")
    box.answers = ["451 later"]
    asked = await question(api)
    [(_, mail)] = await box.arrived(1)
    assert (mail["Message-ID"], mail["X-Penstock-Repeat"]) == (f"<asked.{asked['id']}@example.com>", "2")
    assert "it may have reached you before" in words_of(mail)
    assert (await settled(api, asked["id"])).attempts == 2
    box.answers = ["554 no"]
    refused = await settled(api, (await question(api, 5))["id"])
    assert (refused.state, refused.last_status, refused.attempts) == ("dead", "the server answered 554", 1)
    box.refused = {"fay@example.org"}
    nobody = await settled(api, (await question(api, 6))["id"])
    assert (nobody.state, nobody.last_status) == ("dead", "all recipients were refused: 550")
    await known(api, "key:gus")
    some = await settled(api, (await question(api, 7))["id"])
    assert (some.state, some.last_status) == ("sent", "1 told, 1 refused")


async def test_nobody_is_told_of_what_is_decided_already_or_when_no_server_is_set(
    smtp: dict[str, Any], box: Mailbox
) -> None:
    journal = MemoryJournal()
    async with served(journal, agents=[payer], **{**smtp, "smtp_host": ""}) as api:
        await known(api, "key:fay")
        asked = await question(api)
        moot = await settled(api, asked["id"])
        assert (moot.state, moot.last_status) == ("moot", "no SMTP server is set")
    async with served(journal, agents=[payer], **smtp) as api:
        services = api.platform.services
        telling = Telling(journal, services.reader, services.clock, services.settings)
        await decide(api, asked, "approver", "deny")
        late = Notice("default", asked["id"], "escalated", UUID(asked["run"]), "payer", "pay_out", "may_run", 0, 0, 0)
        await journal.questions.notices.add(late, 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while (
                    not await telling.look()
                    and (await journal.questions.notices.of("default", asked["id"]))[-1].state == "waiting"
                ):
                    await asyncio.sleep(0.01)
        assert (await settled(api, asked["id"], "escalated")).state == "moot"
    assert box.mails == []


async def test_when_nobody_answers_others_are_told(api: Api, box: Mailbox) -> None:
    guard = Guard()
    guard.say("roles: [finance], escalate: {to: [lead], after: 1s}")
    api.platform.services.policy = guard  # type: ignore[assignment]
    await known(api, "key:fay", "finance")
    await known(api, "key:gus", "lead")
    asked = await question(api)
    (first, _), (second, mail) = await box.arrived(2)
    assert (first, second) == (["fay@example.org"], ["gus@example.org"])
    assert mail["Subject"] == "Nobody has answered yet: pay_out"
    assert mail["Message-ID"] == f"<escalated.{asked['id']}@example.com>"


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_security": "ssl"},
        {"smtp_from": ""},
        {"smtp_from": "a@b\r\nBcc: c@d"},
        {"smtp_security": "none", "smtp_user": "u", "smtp_password": "p"},
    ],
)
def test_settings_by_which_nothing_could_be_sent_are_refused(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"smtp_host": "mail.example.com", "smtp_from": "penstock@example.com"}
    check_settings(Settings(**good))
    with pytest.raises(SettingInvalid):
        check_settings(Settings(**{**good, **wrong}))
