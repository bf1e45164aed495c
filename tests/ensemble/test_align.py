"""Rows meet by ids, and members that lack photos are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.align import Voter, align, shared_photos, stack
from system.errors import UserError

IDS = ["a", "b", "c", "d"]
ROWS = np.arange(8, dtype=np.float16).reshape(4, 2)


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_order_of_images_and_files_changes_nothing(first: list[int], second: list[int]) -> None:
    files = {"t1": ([IDS[i] for i in first], ROWS[first]), "t2": ([IDS[i] for i in second], ROWS[second] + 1)}
    np.testing.assert_array_equal(stack(IDS, files), [ROWS, ROWS + 1])
    assert shared_photos({name: ids for name, (ids, _) in files.items()}) == tuple(IDS)


def test_photos_beyond_the_wanted_ones_are_left_out() -> None:
    np.testing.assert_array_equal(align(["d", "b"], IDS, ROWS, member="t1"), ROWS[[3, 1]])


def test_equal_ids_cost_no_copy() -> None:
    assert align(tuple(IDS), IDS, ROWS, member="t1") is ROWS


def test_a_missing_photo_names_member_and_number() -> None:
    with pytest.raises(UserError, match=r"^t7: 2 of 5 photos have no prediction, among them x, y$"):
        align(["a", "x", "b", "y", "c"], IDS, ROWS, member="t7")


@pytest.mark.parametrize(("ids", "message"), [(["a", "b", "b", "d"], "stand twice"), (["a", "b"], "2 image ids for 4 rows")])
def test_damaged_predictions_are_refused(ids: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        align(["a"], ids, ROWS, member="t7")


def test_all_members_at_fault_are_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        stack(IDS, {"t1": (IDS, ROWS), "t2": (IDS[:2], ROWS[:2]), "t3": (IDS, ROWS[:, :1])})
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["t2", "t3"]


def test_members_are_compared_on_shared_photos_or_refused_by_name() -> None:
    assert shared_photos({"t2": ["c", "b"], "t1": ["b", "a", "c"]}) == ("b", "c")
    with pytest.raises(UserError, match="t2 shares no photo"):
        shared_photos({"t2": ["x"], "t1": ["a"]})


def test_a_voter_is_member_and_view() -> None:
    assert Voter("t1", "flip").key == ("t1", "flip")
    assert Voter("t1").view == "identity"
    assert str(Voter("t1")) == "t1 (identity)"
