"""A model that only pretends: for the demo, for trying things offline, and for tests."""

from penstock.adapters.simulated.examples import Guess, NearestExamples, Question, banking77
from penstock.adapters.simulated.model import NAME, SPIRAL_MARK, SimulatedModel
from penstock.adapters.simulated.persona import Habits, Persona

__all__ = [
    "NAME",
    "SPIRAL_MARK",
    "Guess",
    "Habits",
    "NearestExamples",
    "Persona",
    "Question",
    "SimulatedModel",
    "banking77",
]
