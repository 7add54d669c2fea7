"""The README's code is an application, and its commands work on it.

Two things are put in place of what a reader has: a scripted model instead of a provider's, and this session's ids
instead of those that the README shows.
"""

import json
import re

from tests.docs.code import Notebook
from tests.docs.pages import ROOT, blocks_of, commands_of
from tests.docs.place import Place
from tests.docs.session import Shell

README = ROOT / "README.md"
MODEL = """
from penstock.testing import ScriptedModel, tool_call


def script(request):
    if "refund" in request.messages[1].text and len(request.messages) == 2:
        return tool_call("refund", order_id="o-1", amount_cents=100)
    return "Sorry about that."


model = ScriptedModel([script], repeat=True)
"""
PROVIDERS_MODEL = 'model="openai:gpt-5-mini"'


async def walk_readme(place: Place) -> None:
    """Run the README's commands on an application that is made of its code.

    Raises:
        AssertionError: a command does not end well.
    """
    blocks = blocks_of(README)
    code = "\n".join(block.text for block in blocks if block.language == "python")
    async with place.entered():
        with Notebook("readme") as notebook:
            for block in blocks:
                if block.language == "python":
                    await notebook.run(block)
    assert PROVIDERS_MODEL in code
    (place.folder / "app.py").write_text(MODEL + code.replace(PROVIDERS_MODEL, "model=model"), encoding="utf-8")
    ids: dict[str, str] = {}
    async with Shell(place.folder, place.environment) as shell:
        for block in blocks:
            for command, _ in commands_of(block) if block.language == "console" else ():
                await check(shell, command, ids)


async def check(shell: Shell, shown: str, ids: dict[str, str]) -> None:
    """Run one command of the README."""
    command = shown.partition("  #")[0].rstrip()
    if command.startswith("penstock worker"):
        await shell.run(f"{command} > worker.log 2>&1 &")
        await shell.run('penstock run app:support "a refund please" --no-wait')
        return
    if found := re.search(r"runs show ([0-9a-f]+)", command):
        ids[found[1]] = (await asked(shell, "penstock runs ls --status ended --json"))[0]["id"]
    if found := re.search(r"approvals approve ([0-9a-f]+)", command):
        ids[found[1]] = (await asked(shell, "penstock approvals ls --json"))[0]["id"]
    for in_readme, real in ids.items():
        command = command.replace(in_readme, real)
    code, printed = await shell.run(command)
    assert code == 0, f"$ {command}\n" + "\n".join(printed)


async def asked(shell: Shell, command: str) -> list[dict[str, str]]:
    """The command's JSON list, asked for again until it holds something."""
    for _ in range(50):
        _, printed = await shell.run(command)
        found: list[dict[str, str]] = json.loads(printed[-1])
        if found:
            return found
    raise AssertionError(f"nothing came of {command}")
