"""The worker that a proof kills: ``python -m penstock.demo.proof_worker JOB``, settings from the environment.

It works like any other, until the bank has paid a refund: it says so and then never comes back from that call.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from penstock.adapters.embeddings import WordLlamaEmbedder
from penstock.adapters.simulated import Habits, NearestExamples, SimulatedModel
from penstock.demo.bank import Bank
from penstock.demo.support import SupportDesk
from penstock.demo.support_tools import BankTools
from penstock.settings import load_settings
from penstock.wiring import open_penstock

PAID = "the bank has paid"
_TAME = Habits(spiral=0, unknown_tool=0, malformed=0, overreach=0, careless=0, stubborn=0, unsure_below=0)


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """What makes the desk of both workers the same release."""

    demo: str
    seed: int


class StallingBank(Bank):
    """A bank whose answer to a refund never arrives, though the money has moved."""

    async def refund(
        self, customer_id: str, transaction_id: str, amount_cents: int, reason: str, key: str
    ) -> dict[str, Any]:
        """Pay, say so, and hang."""
        await super().refund(customer_id, transaction_id, amount_cents, reason, key)
        sys.stdout.write(f"{PAID}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def proof_desk(bank: Bank, examples: NearestExamples, job: WorkerJob) -> SupportDesk:
    """The desk of the proof, with a model that makes no mistakes."""
    model = SimulatedModel(job.seed, habits=_TAME, examples=examples)
    return SupportDesk(BankTools(bank), model, name="support-desk-proof", extra={"demo": job.demo})


async def _main(job: WorkerJob) -> None:
    settings = load_settings()
    assert settings.database_url is not None
    bank = await StallingBank.open(settings.database_url, connections=2)
    examples = NearestExamples(WordLlamaEmbedder())
    # Before the lease begins: it is short here, and loading keeps the interpreter busy for a second.
    examples.load()
    desk = proof_desk(bank, examples, job)
    async with open_penstock(settings, agents=[desk]) as platform:
        await platform.work(f"victim-{job.demo}")


if __name__ == "__main__":
    asyncio.run(_main(WorkerJob(**json.loads(sys.argv[1]))))
