import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.model.chat import EncodedConversation
from components.model.packing import make_segments, pack_segments, targets, visible

PREFIX = (1, 2, 3)


def conversation(*answer: int, prefix: tuple[int, ...] = PREFIX) -> EncodedConversation:
    ids = (*prefix, 50, *answer)
    supervised = (False,) * (len(prefix) + 1) + (True,) * len(answer)
    return EncodedConversation(ids, supervised, len(prefix))


def packed(*segments, max_length=100):
    return list(pack_segments(segments, max_length=max_length))


def test_conversations_of_one_image_share_its_prefix_once():
    [segment] = make_segments([("a", conversation(7, 8)), ("b", conversation(9))], [4], max_length=100)
    assert segment.ids.tolist() == [1, 2, 3, 50, 7, 8, 50, 9]
    assert segment.positions.tolist() == [0, 1, 2, 3, 4, 5, 3, 4]
    assert segment.branches.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert segment.images == (4,) and segment.pair_ids == ("a", "b")


def test_a_branch_sees_the_prefix_and_itself_and_nothing_later():
    [segment] = make_segments([("a", conversation(7)), ("b", conversation(9))], [4], max_length=100)
    mask = visible(np.zeros(len(segment), int), segment.branches)
    assert mask[4].tolist() == [True, True, True, True, True, False, False]
    assert mask[6].tolist() == [True, True, True, False, False, True, True]


def test_segments_in_one_pack_do_not_see_each_other():
    [first] = make_segments([("a", conversation(7))], [0], max_length=100)
    [second] = make_segments([("b", conversation(8, 9))], [1], max_length=100)
    [pack] = packed(first, second)
    mask = visible(pack.segments, pack.branches)
    assert not mask[len(first) :, : len(first)].any() and not mask[: len(first), len(first) :].any()
    assert pack.positions[len(first)] == 0


def test_targets_are_the_next_token_of_the_same_conversation_where_it_is_supervised():
    segments = list(make_segments([("a", conversation(7, 8)), ("b", conversation(9))], [4], max_length=100))
    [pack] = packed(*segments)
    assert targets(pack).tolist() == [-100, -100, -100, 7, 8, -100, 9, -100]


def test_a_full_segment_opens_another_with_its_own_prefix():
    rows = [(name, conversation(7, 8)) for name in "abc"]
    segments = list(make_segments(rows, [4], max_length=9))
    assert [segment.pair_ids for segment in segments] == [("a", "b"), ("c",)]
    assert segments[1].ids[:3].tolist() == list(PREFIX)


def test_a_conversation_longer_than_a_pack_is_refused_by_name():
    with pytest.raises(ValueError, match="pair a has 6 tokens, more than 5"):
        list(make_segments([("a", conversation(7, 8))], [4], max_length=5))


def test_a_foreign_prefix_is_refused():
    rows = [("a", conversation(7)), ("b", conversation(7, prefix=(1, 2, 9)))]
    with pytest.raises(ValueError, match="does not share the prefix"):
        list(make_segments(rows, [4], max_length=100))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(5, 40), min_size=1, max_size=6), min_size=1, max_size=12), st.integers(10, 40)
)
def test_packing_keeps_every_supervised_token_once_and_never_overflows(answers, max_length):
    segments = [
        next(make_segments([(str(number), conversation(*answer))], [number], max_length=max_length))
        for number, answer in enumerate(answers)
    ]
    packs = packed(*segments, max_length=max_length)
    assert all(len(pack) <= max_length for pack in packs)
    assert sorted(pair for pack in packs for pair in pack.pair_ids) == sorted(map(str, range(len(answers))))
    learned = sorted(int(t) for pack in packs for t in targets(pack) if t != -100)
    assert learned == sorted(token for answer in answers for token in answer)


def test_a_gap_in_an_open_pack_is_filled_and_one_open_pack_is_next_fit():
    lengths = {"a": 4, "b": 12, "c": 5}
    segments = [
        next(make_segments([(name, conversation(*range(5, 5 + n - 4)))], [0], max_length=20))
        for name, n in lengths.items()
    ]
    filled = list(pack_segments(segments, max_length=12))
    assert [pack.pair_ids for pack in filled] == [("a", "c"), ("b",)]
    next_fit = list(pack_segments(segments, max_length=12, open_packs=1))
    assert [pack.pair_ids for pack in next_fit] == [("a",), ("b",), ("c",)]
