"""The tree of a row: who sees whom, which position a token has, which place predicts which token."""

from __future__ import annotations

import numpy as np

from components.evaluation.branches import ClosedPrompt, common_start, make_trees

IMAGE = 99
FIRST = ClosedPrompt(0, ("r",), (IMAGE, IMAGE, 1, 2), ((10, 50), (11, 12, 50)), head=2)
SECOND = ClosedPrompt(1, ("r",), (IMAGE, IMAGE, 1, 3, 2), ((10, 50), (13, 50)), head=2)


def test_questions_about_one_image_share_its_tokens() -> None:
    (tree,) = make_trees([FIRST, SECOND])
    assert tree.ids == [IMAGE, IMAGE, 1, 2, 10, 11, 12, 3, 2, 10, 13]
    assert tree.positions == [0, 1, 2, 3, 4, 4, 5, 3, 4, 5, 5]
    assert tree.questions == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert tree.options == [0, 0, 0, 0, 1, 2, 2, 0, 0, 1, 2]


def test_a_token_sees_its_path_and_nothing_else() -> None:
    (tree,) = make_trees([FIRST, SECOND])
    seen = {place: np.flatnonzero(row).tolist() for place, row in enumerate(tree.visible())}
    assert seen[6] == [0, 1, 2, 3, 5, 6]  # second token of the first question's second option
    assert seen[7] == [0, 1, 2, 7]  # the second question does not see the first
    assert seen[10] == [0, 1, 2, 7, 8, 10]


def test_targets_stand_behind_the_places_that_predict_them() -> None:
    (tree,) = make_trees([FIRST, SECOND])
    found = [(t.number, t.option, t.place, t.token) for t in tree.targets]
    assert found == [
        (0, 0, 3, 10), (0, 0, 4, 50), (0, 1, 3, 11), (0, 1, 5, 12), (0, 1, 6, 50),
        (1, 0, 8, 10), (1, 0, 9, 50), (1, 1, 8, 13), (1, 1, 10, 50),
    ]  # fmt: skip


def test_other_images_and_full_rows_open_a_new_tree() -> None:
    other = ClosedPrompt(2, ("s",), FIRST.prompt, FIRST.options, head=2)
    assert len(make_trees([FIRST, SECOND, other])) == 2
    assert len(make_trees([FIRST, SECOND], row_tokens=8)) == 2


def test_images_placed_otherwise_are_not_shared() -> None:
    behind = ClosedPrompt(3, ("r",), (1, IMAGE, IMAGE, 2), FIRST.options, head=3)
    assert sorted(tree.ids.count(IMAGE) for tree in make_trees([FIRST, behind])) == [2, 2]


def test_common_start() -> None:
    assert common_start([[1, 2, 3], [1, 2, 4], [1, 2]]) == 2
    assert common_start([[1, 2]]) == 2
    assert common_start([[1], [2]]) == 0
