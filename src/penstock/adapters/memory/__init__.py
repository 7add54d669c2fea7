"""The journal in memory: for unit tests, simulation and stepping through an agent with no database."""

from penstock.adapters.memory.journal import MemoryJournal

__all__ = ["MemoryJournal"]
