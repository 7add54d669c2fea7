"""That what is changed belongs to this installation's environment."""

from penstock.kernel.errors import EnvironmentForeign
from penstock.settings import Settings


def check_at_home(settings: Settings, environment: str, what: str) -> None:
    """Refuse to change what belongs to another environment; "" = it belongs to none.

    Raises:
        EnvironmentForeign: it does; ``what`` names it.
    """
    if environment not in ("", settings.environment):
        words = f"{what} is of the environment {environment}, and this installation is of {settings.environment}"
        raise EnvironmentForeign(words, environment=environment)
