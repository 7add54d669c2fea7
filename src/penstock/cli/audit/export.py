"""``penstock audit export``: what was recorded, with its proofs, for somebody who trusts nobody here."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.audit.options import HeldCheckpoint, noted, read_text, reading
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import note, plain, print_json
from penstock.cli.text import plural
from penstock.kernel.errors import InputInvalid, UsageError


def export(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write; - is standard output.")],
    *,
    run: Annotated[
        list[str] | None, typer.Option("--run", help="One run; may be repeated.", show_default=False)
    ] = None,
    customer: Annotated[str, typer.Option("--customer", help="All runs of a customer.", show_default=False)] = "",
    since: Annotated[
        str | None, typer.Option("--since", help="All runs made since then: 2026-11-01, or with a time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="And before then.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All runs.")] = False,
    content: Annotated[bool, typer.Option("--content", help="With payloads, and what proves them.")] = False,
    held: HeldCheckpoint = None,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Write runs with the proofs that they are what was recorded. Check the file with verify.py: it needs nothing else.

    Of --all and of a period, the file also proves that no run was left out. What is exported is written into the list
    of actions.
    """
    ways = [bool(run), bool(customer), since is not None or until is not None, everything]
    if sum(ways) != 1:
        raise UsageError("say what to export, in one way", hint="--run, --customer, --since and --until, or --all")
    begin = 0 if everything else _moment(since) if since is not None else 0 if until is not None else None
    return execute(
        _export(
            out,
            names=run or [],
            customer=customer,
            since=begin,
            until=_moment(until),
            content=content,
            held=held,
            tenant=tenant,
            actor=actor_or_account(actor),
            as_json=as_json,
        )
    )


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputInvalid(f"{text!r} is no date or time", hint="write it as 2026-11-01 or 2026-11-01T12:00") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)


async def _export(
    out: Path,
    *,
    names: list[str],
    customer: str,
    since: int | None,
    until: int | None,
    content: bool,
    held: Path | None,
    tenant: str | None,
    actor: str,
    as_json: bool,
) -> int:
    from penstock.runs.sealing import open_signer, seal_now
    from penstock.views.exports import Export, Wanted, held_size

    async with reading(tenant) as platform:
        journal, settings = platform.journal, platform.services.settings
        runs = [await find_run(journal, platform.tenant, name) for name in names]
        signer = await open_signer(journal, settings)
        size = await held_size(journal, platform.tenant, read_text(held)) if held is not None else 0
        wanted = Wanted(runs, customer, since, until, size, content)
        target = ", ".join(map(str, runs)) or customer or "all"
        detail = {"since": since, "until": until, "content": content, "customer": customer}
        await noted(platform, actor, "audit.export", target, detail)
        await seal_now(journal, settings, platform.tenant)
        made = Export(journal, platform.tenant, wanted, signer.key.sign)
        if str(out) == "-":
            async for line in made.lines():
                sys.stdout.buffer.write(line)
        else:
            try:
                with out.open("xb") as file:
                    async for line in made.lines():
                        file.write(line)
            except OSError as error:
                raise InputInvalid(f"{out} cannot be written: {error.strerror or error}") from error
    done = made.done
    if as_json and str(out) != "-":
        print_json({"file": str(out), **{name: value for name, value in plain(done).items() if name != "covered"}})
    else:
        parts = [plural(done.runs, "run"), plural(done.events, "event"), plural(done.actions, "action")]
        parts += [plural(done.payloads, "payload"), f"{done.erased} erased", f"{done.pruned} pruned"]
        note(f"{out}: {', '.join(parts)}; the log has {plural(done.size, 'leaf').replace('leafs', 'leaves')}")
    return ExitCode.OK


def verifier(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the two files.")],
    as_json: AsJson = False,
) -> int:
    """Write the stand-alone verifier: verify.py and ed25519.py. Whoever trusts nobody here gets them elsewhere."""
    from importlib import resources

    folder.mkdir(parents=True, exist_ok=True)
    names = ["verify.py", "ed25519.py"]
    for name in names:
        (folder / name).write_bytes((resources.files("penstock.verifier") / name).read_bytes())
    if as_json:
        print_json({"folder": str(folder), "files": names})
    else:
        note(f"{folder}: {', '.join(names)}")
    return ExitCode.OK
