"""``penstock audit checkpoint``, ``prove`` and ``cosign``: what is handed to those who hold the log to its word."""

import base64
import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.audit.options import HeldCheckpoint, SealFirst, read_text, reading, sealed
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import note, print_json, say
from penstock.kernel.errors import UsageError


def checkpoint(
    keys: Annotated[bool, typer.Option("--keys", help="Print the log's public keys instead, the newest last.")] = False,
    seal: SealFirst = True,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Print the log's newest checkpoint, a signed note: keep it where the database's owner cannot change it."""
    return execute(_checkpoint(keys, seal, tenant, as_json))


async def _checkpoint(keys: bool, seal: bool, tenant: str | None, as_json: bool) -> int:
    from penstock.views.audit_log import log_keys
    from penstock.views.exports import newest

    async with reading(tenant) as platform:
        if seal:
            await sealed(platform)
        known = [verifier.text() for _, verifier in await log_keys(platform.journal, platform.tenant)]
        point = await newest(platform.journal, platform.tenant)
    if as_json:
        print_json({"size": point.size, "at": point.at, "checkpoint": point.whole, "keys": known})
    elif keys:
        for text in known:
            say(text)
    else:
        sys.stdout.write(point.whole)
    return ExitCode.OK


def prove(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="That a run is in the log.", show_default=False)
    ] = None,
    seq: Annotated[int, typer.Option("--event", min=0, help="Up to this event at least; 0 = all that is sealed.")] = 0,
    held: HeldCheckpoint = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Prove that a run is in the log (inclusion), or that the log has only grown since a checkpoint (consistency).

    The proofs are those of RFC 6962, lowest hash first, for the checkpoint that is printed with them.
    """
    if (run is None) == (held is None):
        raise UsageError("name a run, or a checkpoint with --checkpoint", hint="one of them, not both")
    return execute(_prove(run, seq, held, tenant, as_json))


async def _prove(run: str | None, seq: int, held: Path | None, tenant: str | None, as_json: bool) -> int:
    from penstock.views.audit_log import prove_growth, prove_run

    async with reading(tenant) as platform:
        journal = platform.journal
        if run is not None:
            proved = await prove_run(journal, platform.tenant, await find_run(journal, platform.tenant, run), seq)
            inclusion, point = proved.inclusion, proved.checkpoint
            document = {
                "run": str(proved.run),
                "event": proved.seq,
                "index": inclusion.index,
                "size": inclusion.size,
                "leaf": inclusion.data.decode(),
                "proof": [base64.b64encode(node).decode() for node in inclusion.proof],
                "checkpoint": point.whole,
            }
        else:
            assert held is not None
            grown = await prove_growth(journal, platform.tenant, read_text(held))
            document = {
                "old": grown.old,
                "size": grown.size,
                "proof": [base64.b64encode(node).decode() for node in grown.proof],
                "checkpoint": grown.checkpoint.whole,
            }
    if as_json:
        print_json(document)
        return ExitCode.OK
    for name, value in document.items():
        if isinstance(value, list):
            for node in value:
                say(f"proof  {node}")
        elif name != "checkpoint":
            say(f"{name:<5}  {value}")
    sys.stdout.write("\n" + str(document["checkpoint"]))
    return ExitCode.OK


def cosign(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Signature lines of witnesses, or a checkpoint with them: take them in."),
    ] = None,
    old: Annotated[int, typer.Option("--old", min=0, help="The size that the witness has seen last.")] = 0,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Without FILE: print what a witness is sent (the body of `add-checkpoint`, c2sp.org/tlog-witness). With FILE: take
    in what it answered, when it is of a witness of PENSTOCK_AUDIT_WITNESSES and fits a checkpoint that is kept.
    """
    return execute(_cosign(file, old, tenant, as_json))


async def _cosign(file: Path | None, old: int, tenant: str | None, as_json: bool) -> int:
    from penstock.views.audit_log import grown_since, take_cosignatures, witness_request, witnesses_of

    async with reading(tenant) as platform:
        if file is None:
            body = witness_request(await grown_since(platform.journal, platform.tenant, old))
            if as_json:
                print_json({"request": body})
            else:
                sys.stdout.write(body)
            return ExitCode.OK
        witnesses = witnesses_of(platform.services.settings.audit_witnesses)
        taken = await take_cosignatures(platform.journal, platform.tenant, read_text(file), witnesses)
    if as_json:
        print_json({"taken": taken})
    else:
        note(f"kept with the checkpoint: {', '.join(taken)}")
    return ExitCode.OK
