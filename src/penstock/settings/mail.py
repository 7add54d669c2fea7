"""The settings of e-mail: part of the table in `penstock.settings.table`."""

import dataclasses

from penstock.settings.line import DAY
from penstock.settings.line import setting as _setting
from penstock.settings.mcp import McpSettings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings(McpSettings):
    """What only the server reads, to tell people by e-mail that something waits for them."""

    smtp_host: str = _setting("", "The SMTP server that e-mail is sent by; without one none is.")
    smtp_port: int = _setting(587, "Its port: 587 with starttls, 465 with tls.", low=1, high=65_535)
    smtp_security: str = _setting(
        "starttls", "How the connection is kept private: starttls, tls, or none (only where the network is)."
    )
    smtp_user: str = _setting("", "The name to sign in to it with; without one it is not signed in to.")
    smtp_password: str = _setting("", "The password to sign in to it with.", secret=True)
    smtp_from: str = _setting("", "The address that e-mail comes from, such as penstock@example.com.")
    smtp_timeout_seconds: float = _setting(
        20.0,
        "How long one attempt to send may take, from the connection to the last answer.",
        unit="s",
        low=1,
        high=300,
    )
    smtp_attempts: int = _setting(8, "Attempts before an e-mail is given up.", low=1, high=100)
    smtp_backoff_seconds: float = _setting(
        30.0,
        "The longest pause after the first failed attempt, doubled by each further one.",
        unit="s",
        low=0,
        high=3600,
    )
    smtp_backoff_max_seconds: float = _setting(
        3600.0, "The longest pause between two attempts.", unit="s", low=0, high=DAY
    )
    notice_keep_seconds: float = _setting(
        30 * DAY, "How long it is kept who was to be told of a question.", unit="s", low=3600, high=365 * DAY
    )
