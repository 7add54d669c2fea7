"""How the model will behave on one question: drawn once from (seed, question), so that it can be repeated anywhere."""

from dataclasses import dataclass
from typing import Literal

from penstock.kernel.errors import UsageError
from penstock.kernel.randomness import seeded

Style = Literal["stuck", "wandering"]


@dataclass(frozen=True, slots=True)
class Habits:
    """Rates in [0, 1], each per question unless it says otherwise.

    Raises:
        UsageError: a rate outside [0, 1].
    """

    spiral: float = 0.15  # goes round in circles instead of answering
    unknown_tool: float = 0.03  # calls a tool that does not exist
    malformed: float = 0.04  # sends arguments that are not JSON
    overreach: float = 0.01  # wants to close an account nobody asked to close
    careless: float = 0.08  # takes the wrong card or a wrong amount
    stubborn: float = 0.3  # repeats a refused call once
    heed: float = 0.5  # per intervention: lets itself be stopped in a spiral
    unsure_below: float = 0.25  # the margin of the nearest examples under which it says that it is not sure

    def __post_init__(self) -> None:
        for name in self.__slots__:
            rate = getattr(self, name)
            if not 0 <= rate <= 1:
                raise UsageError(f"the simulated model's rate {name} is {rate}", hint="give a number from 0 to 1")


@dataclass(frozen=True, slots=True)
class Persona:
    """One question's draws."""

    spirals: bool
    style: Style  # stuck: the same call again and again; wandering: always a little different
    late: bool  # the spiral starts after the reply was sent: it keeps checking and sends it again
    spiral_steps: int  # how long it would go on if nothing stopped it
    unknown_tool: bool
    malformed: bool
    overreaches: bool
    careless: bool
    stubborn: bool
    closes: bool  # tries to close the account when asked to


def draw_persona(seed: int, question: str, habits: Habits) -> Persona:
    """The persona of a question. Every draw is made whatever the rates are: a higher spiral rate adds spirals and
    changes nothing else, which is what makes a sweep over rates comparable ticket by ticket."""
    draw = seeded("simulated-support-desk", seed, question)
    return Persona(
        spirals=draw.random() < habits.spiral,
        style="stuck" if draw.random() < 0.6 else "wandering",
        late=draw.random() < 0.2,
        spiral_steps=draw.randint(30, 80),
        unknown_tool=draw.random() < habits.unknown_tool,
        malformed=draw.random() < habits.malformed,
        overreaches=draw.random() < habits.overreach,
        careless=draw.random() < habits.careless,
        stubborn=draw.random() < habits.stubborn,
        closes=draw.random() < 0.7,
    )


def heeds(seed: int, question: str, intervention: int, rate: float) -> bool:
    """Whether the model lets its n-th intervention (a note, a denial) stop its spiral."""
    return seeded("heed", seed, question, intervention).random() < rate
