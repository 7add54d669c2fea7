"""What an e-mail says: that something waits, where, and until when. Never content of runs."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP

from penstock.kernel.canonical import clean_text
from penstock.ports.notices import Notice

NAME_MAX_CHARS = 100
_ASKS = {
    "may_run": "whether a call may be made",
    "did_it_happen": "whether a call took effect",
    "help": "what to do",
}


def letter(notice: Notice, sender: str, public_url: str) -> EmailMessage:
    """The e-mail about a question. The same notice has the same Message-ID however often it is sent; what is sent again
    says so, for it may have arrived before.

    Recipients are not in it: they are named to the server only, so that they do not learn each other's addresses.
    """
    tool, agent = _name(notice.tool), _name(notice.agent)
    late = notice.kind == "escalated"
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = "undisclosed-recipients:;"
    mail["Subject"] = f"Nobody has answered yet: {tool}" if late else f"Waits for a person: {tool}"
    mail["Message-ID"] = f"<{notice.kind}.{notice.approval}@{sender.rpartition('@')[2]}>"
    mail["Date"] = datetime.fromtimestamp(notice.created_at / 1e6, UTC)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Penstock-Approval"] = notice.approval
    if notice.attempts > 1:
        mail["X-Penstock-Repeat"] = str(notice.attempts)
    base = public_url.rstrip("/")
    lines = [
        f"The agent {agent} asks {_ASKS.get(notice.question, 'a person')}: {tool}.",
        *(["Nobody has answered in the time that was set for it."] if late else []),
        "",
        f"approval  {notice.approval}",
        f"run       {notice.run}",
        f"expires   {_time(notice.expires)}",
    ]
    if base:
        lines.append(f"decide    {base}/approvals/{notice.approval}")
    if notice.attempts > 1:
        lines += ["", f"This is attempt {notice.attempts} to tell you: it may have reached you before."]
    mail.set_content("\n".join(lines) + "\n")
    return mail


def _name(text: str) -> str:
    """A name on one line: no header can be added by it."""
    return " ".join(clean_text(text, NAME_MAX_CHARS).split()) or "?"


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%d %H:%M} UTC" if at else "never"
