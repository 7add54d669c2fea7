"""``penstock audit keygen`` and ``rotate``: the key that signs the audit logs."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.audit.options import noted, reading, write_key
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import Actor, AsJson, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.kernel.errors import AuditKeyWrong


def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; must not exist.")],
    as_json: AsJson = False,
) -> int:
    """Make an Ed25519 key for PENSTOCK_AUDIT_KEY_FILE, readable by its owner alone.

    Keep it where the database's administrators cannot read it, and a copy where a lost machine does not take it along.
    """
    import base64

    from penstock.journal.notes import SigningKey

    key = SigningKey.make()
    write_key(file, key)
    public = base64.b64encode(key.public).decode()
    if as_json:
        print_json({"file": str(file), "public": public})
    else:
        note(f"{file} written; its public key is {public}")
        note(f"next: export PENSTOCK_AUDIT_KEY_FILE={file}")
    return ExitCode.OK


def rotate(
    new: Annotated[Path, typer.Argument(metavar="FILE", help="Of the new key (`penstock audit keygen`).")],
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Go over to another key. The old one, that of PENSTOCK_AUDIT_KEY_FILE, signs the statement that says so.

    When this returns, nothing is sealed with the old key any more; sealing goes on as soon as workers have the new one
    in PENSTOCK_AUDIT_KEY_FILE. Who holds the old public key can verify what the new one signs.
    """
    return execute(_rotate(new, actor_or_account(actor), as_json))


async def _rotate(new: Path, actor: str, as_json: bool) -> int:
    from penstock.journal.leaves import rotation_statement
    from penstock.ports.audit import LogKey
    from penstock.runs.sealing import open_signer, read_key

    async with reading(None) as platform:
        key = read_key(new)
        signer = await open_signer(platform.journal, platform.services.settings)
        if any(known.public == key.public for known in signer.keys):
            raise AuditKeyWrong(f"the key in {new} has signed the logs before", hint="make a new one")
        number = signer.keys[-1].number + 1
        statement = rotation_statement(signer.base, signer.key, key)
        if not await platform.journal.audit.add_key(LogKey(number, key.public, statement)):
            raise AuditKeyWrong("somebody else went over to another key at the same moment", hint="look, and try again")
        await noted(platform, actor, "audit.rotate", str(number), {"public": key.public.hex()})
    if as_json:
        print_json({"number": number, "public": key.public.hex(), "statement": statement})
    else:
        say(statement.rstrip("\n"))
        note(f"key {number} signs from now on: set PENSTOCK_AUDIT_KEY_FILE={new} for all workers")
    return ExitCode.OK
