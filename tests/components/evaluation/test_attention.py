"""Maps of attention: by hand on small matrices, and on a tiny model whose picture they must follow."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

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
from components.settings import HeatMaps
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
    looked = look(plain, [exam], {f"r{k}": png(60 * k) for k in range(3)}, wanted=HeatMaps())
    maps = looked.maps
    assert looked.left_out == {}
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
    assert [one.item.item_id for one in chosen_items(exam, 4, HeatMaps())] == ["one"]


def boxed_exam(boxes: dict[str, tuple], *, patients: int = 3, **changes):
    items = [
        make_item(item_id=name, patient_key=f"p{k % patients}", record_ids=(f"r{k}",), boxes=found, **changes)
        for k, (name, found) in enumerate(boxes.items())
    ]
    exam = make_exam(find_benchmark("closed_questions"), items, [], number=len(items), seed=0)
    exam.answers[MODEL] = [Answer("yes")] * len(items)
    return exam


def test_items_are_chosen_in_turn_over_patients_and_by_name() -> None:
    exam = boxed_exam({f"i{k}": (BOX,) for k in range(9)})
    chosen = chosen_items(exam, 4, HeatMaps(boxed=4, drawn=1))
    assert len(chosen) == 4 and len({one.item.patient_key for one in chosen[:3]}) == 3
    assert [one.is_drawn for one in chosen] == [True, False, False, False]
    named = chosen_items(exam, 4, HeatMaps(boxed=0, others=0, items=("i7",)))
    assert [(one.item.item_id, one.is_drawn) for one in named] == [("i7", True)]


def test_a_closed_item_is_measured_on_the_box_that_its_record_states() -> None:
    exam = boxed_exam({"i0": (), "i1": ()})
    exam.boxes = {"i0": (BOX,)}
    first, second = chosen_items(exam, 4, HeatMaps())
    assert (first.item.item_id, first.boxes) == ("i0", (BOX,)) and second.boxes == ()


def test_what_cannot_be_measured_is_counted(plain) -> None:
    speck = ((0.9, 0.9, 0.95, 0.95),)
    exam = boxed_exam({"i0": (BOX,), "i1": speck, "i2": speck})
    looked = look(plain, [exam], {f"r{k}": png(60 * k) for k in range(3)}, wanted=HeatMaps())
    assert looked.left_out == {"no cell's centre lies in the box": 2}
    assert {one.item_id for one in looked.maps} == {"i0"}


def test_a_model_of_tiles_is_refused_with_the_reason(vlm) -> None:
    config = SimpleNamespace(max_tiles=4, image_seq_length=16)
    tiled = replace(vlm, model=SimpleNamespace(config=config))
    looked = look(tiled, [], {}, wanted=HeatMaps())
    assert looked.maps == [] and "up to 4 squares" in looked.left_out["refused"]
