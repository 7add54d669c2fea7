"""What all parts of one demo share."""

from dataclasses import dataclass

from penstock.adapters.simulated import NearestExamples, SimulatedModel
from penstock.demo.bank import Bank
from penstock.demo.options import DemoOptions, Progress
from penstock.demo.tickets import Ticket
from penstock.demo.world import World, found
from penstock.ports.model import Model
from penstock.settings import Settings
from penstock.wiring import Models


@dataclass(slots=True)
class Stage:
    """What all parts of one demo share."""

    options: DemoOptions
    tickets: list[Ticket]
    settings: Settings  # with the address of the database
    bank: Bank
    examples: NearestExamples
    progress: Progress
    code: str  # of this demo: begins the codes of its worlds

    async def world(self, suffix: str) -> World:
        """A new bank with the customers of all tickets. Suffixes are of one length, so that texts cost the same."""
        return await found(self.bank, self.code + suffix, self.tickets, self.options.seed, self.examples)

    def model(self, rate: float) -> Model:
        """A new model: the simulated one with that spiral rate, or the provider's."""
        if self.options.model is not None:
            return Models(self.settings).find(self.options.model)
        return SimulatedModel(self.options.seed, spiral_rate=rate, examples=self.examples)
