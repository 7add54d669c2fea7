"""One e-mail to one server, and what came of it in words."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage

import aiosmtplib

from penstock.kernel.errors import SettingInvalid
from penstock.settings import Settings

SECURITY = ("starttls", "tls", "none")
TRANSIENT = range(400, 500)
"""Answers of a server that may be others later (RFC 5321, 4.2.1)."""


@dataclass(slots=True, frozen=True)
class Sent:
    """What came of an attempt. ``again``: it may help to try again. ``words`` hold nothing that the server said but
    codes: some servers repeat what they were told."""

    ok: bool
    words: str
    again: bool = False


def check_settings(settings: Settings) -> None:
    """Refuse settings by which no e-mail could be sent.

    Raises:
        SettingInvalid: what is wrong.
    """
    if not settings.smtp_host:
        return
    if settings.smtp_security not in SECURITY:
        raise SettingInvalid(f"PENSTOCK_SMTP_SECURITY is {settings.smtp_security!r}", hint=f"use {', '.join(SECURITY)}")
    if "@" not in settings.smtp_from or any(char in settings.smtp_from for char in "\r\n<>,; "):
        raise SettingInvalid("PENSTOCK_SMTP_FROM is no address", hint="name one, such as penstock@example.com")
    if settings.smtp_user and settings.smtp_security == "none":
        raise SettingInvalid("a password would be sent for all to read", hint="use PENSTOCK_SMTP_SECURITY=starttls")


async def send(mail: EmailMessage, recipients: Sequence[str], settings: Settings) -> Sent:
    """Send it to all of them in one transaction. Whatever happens is an outcome."""
    limit = settings.smtp_timeout_seconds
    try:
        async with asyncio.timeout(limit):
            refused, _ = await aiosmtplib.send(
                mail,
                sender=settings.smtp_from,
                recipients=list(recipients),
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_user or None,
                password=settings.smtp_password or None,
                use_tls=settings.smtp_security == "tls",
                start_tls=settings.smtp_security == "starttls",
                timeout=limit,
            )
    except aiosmtplib.SMTPRecipientsRefused as error:
        codes = [one.code for one in error.recipients]
        return Sent(False, f"all recipients were refused: {codes[0]}", any(code in TRANSIENT for code in codes))
    except aiosmtplib.SMTPAuthenticationError as error:
        return Sent(False, f"the server refused to sign in: {error.code}", True)
    except aiosmtplib.SMTPResponseException as error:
        return Sent(False, f"the server answered {error.code}", error.code in TRANSIENT or error.code <= 0)
    except (aiosmtplib.SMTPTimeoutError, TimeoutError):
        return Sent(False, f"no answer within {limit:g} s", True)
    except aiosmtplib.SMTPException as error:
        return Sent(False, f"no connection: {type(error).__name__}", True)
    except OSError as error:
        return Sent(False, f"no connection: {error.strerror or type(error).__name__}", True)
    told = len(recipients) - len(refused)
    return Sent(True, f"{told} told" + (f", {len(refused)} refused" if refused else ""))
