"""Maps of attention: by hand on small matrices, and on a tiny model whose picture they must follow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.evaluation.attention import (
    GRADIENT,
    ROLLOUT,
    attention_maps,
    cells_inside,
    chosen_items,
    is_pointing,
    look,
    pointing_rows,
    relevance_of,
    rollout_of,
)
from components.evaluation.catalog import find_benchmark
from components.evaluation.exams import MODEL, make_exam
from components.evaluation.items import Answer
from tests.fakes.items import make_item
from tests.fakes.tables import png

BOX = (0.0, 0.0, 0.5, 0.5)


def test_rollout_and_relevance_by_hand() -> None:
    layer = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    assert torch.allclose(rollout_of([layer]), torch.tensor([[1.0, 0.0], [0.25, 0.75]]))
    assert torch.allclose(rollout_of([layer, layer])[1], torch.tensor([0.4375, 0.5625]))
    assert torch.allclose(relevance_of([layer])[1], torch.tensor([0.5, 1.5]))
    assert torch.allclose(rollout_of([layer] * 3).sum(1), torch.ones(2))


def test_cells_are_inside_by_their_centre_and_chance_is_their_share() -> None:
    inside = cells_inside([BOX], 4)
    assert inside.sum() == 4 and inside[:2, :2].all()
    assert cells_inside([BOX, (0.9, 0.9, 1.0, 1.0)], 4).sum() == 4  # no centre lies in the second box


def test_pointing() -> None:
    cells = np.zeros((4, 4))
    assert is_pointing(cells, cells_inside([BOX], 4)) is False
    cells[1, 1] = 1.0
    assert is_pointing(cells, cells_inside([BOX], 4)) is True
    assert is_pointing(cells, cells_inside([(0.5, 0.5, 1.0, 1.0)], 4)) is False
    assert is_pointing(cells, None) is None


@pytest.fixture
def plain(vlm):
    """The session's model, its attention given back as it was."""
    before = vlm.model.config.text_config._attn_implementation
    yield vlm
    vlm.model.set_attn_implementation(before)


def test_maps_cover_the_picture_and_follow_the_answer(plain) -> None:
    plain.model.set_attn_implementation("eager")
    rollout, gradient = attention_maps(plain, png(90), "<image>\nWhere?", "here")
    side = int(plain.image_tokens**0.5)
    for cells in (rollout, gradient):
        assert cells.shape == (side, side) and cells.min() == 0.0 and cells.max() == 1.0
    again, otherwise = attention_maps(plain, png(90), "<image>\nWhere?", "yes")
    assert np.allclose(again, rollout)  # rollout does not know the answer, the gradient does
    assert not np.allclose(otherwise, gradient)


def test_boxed_items_are_drawn_and_measured_against_chance(plain) -> None:
    items = [make_item(item_id=f"i{k}", patient_key=f"p{k}", record_ids=(f"r{k}",), question_type="box",
                       boxes=(BOX,)) for k in range(3)]  # fmt: skip
    exam = make_exam(find_benchmark("boxes"), items, [], number=3, seed=0)
    exam.answers[MODEL] = [Answer("[[0.1, 0.1, 0.2, 0.2]]")] * 3
    maps = look(plain, [exam], {f"r{k}": png(60 * k) for k in range(3)})
    assert [one.method for one in maps] == [ROLLOUT, GRADIENT] * 3
    assert all(one.picture.startswith("data:image/png;base64,") for one in maps)
    rows = pointing_rows(maps, resamples=50, seed=0)
    assert set(rows) == {ROLLOUT, GRADIENT}
    assert rows[ROLLOUT]["n"] == 3 and rows[ROLLOUT]["chance"] == pytest.approx(0.25)
    assert 0 <= rows[GRADIENT]["low"] <= rows[GRADIENT]["value"] <= rows[GRADIENT]["high"] <= 1
    assert pointing_rows([], resamples=50, seed=0) == {}


def test_items_with_two_images_are_left_out() -> None:
    items = [make_item(item_id="two", record_ids=("a", "b")), make_item(item_id="one", record_ids=("c",))]
    exam = make_exam(find_benchmark("closed_questions"), items, [], number=2, seed=0)
    exam.answers[MODEL] = [Answer("yes")] * 2
    assert [item.item_id for item, _ in chosen_items(exam)] == ["one"]
