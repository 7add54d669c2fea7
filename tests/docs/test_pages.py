"""Every example of the documentation runs, and prints what its page shows: see `walkthrough`."""

import pytest
from tests.docs.walkthrough import WALKS

pytestmark = pytest.mark.alone  # pages kill workers in the two seconds that a service takes


@pytest.mark.parametrize("page", list(WALKS))
@pytest.mark.timeout(600)  # the first one waits for all
def test_examples(page: str, walked: dict[str, BaseException | None]) -> None:
    problem = walked[page]
    if problem is not None:
        raise problem
