"""What somebody does first: ``python -m benchmarks.first_run FOLDER`` runs one agent on an embedded server there."""

import asyncio
import sys
from pathlib import Path

import penstock
from benchmarks import ticket
from benchmarks.desk import AGENT
from penstock import Settings


async def main(folder: Path) -> None:
    """Say how the run ended, as soon as it has."""
    async with penstock.open(Settings(data_dir=folder), agents=[AGENT], worker="first") as platform:
        result = await platform.run(AGENT, ticket.text_of(0))
        sys.stdout.write(f"{result.outcome}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
