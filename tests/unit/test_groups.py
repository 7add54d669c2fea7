"""Groups that are not too much at a time."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.groups import in_groups


@given(st.lists(st.integers(0, 20)), st.integers(0, 30))
def test_all_items_in_order_and_no_group_too_heavy_or_needlessly_small(items: list[int], most: int) -> None:
    groups = list(in_groups(items, lambda item: item, most))
    assert [item for group in groups for item in group] == items
    assert all(group for group in groups)
    assert all(sum(group) <= most or len(group) == 1 for group in groups)
    assert all(sum(group) + after[0] > most for group, after in itertools.pairwise(groups))
