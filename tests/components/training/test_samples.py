"""A few validation items beside their answers: chosen by place, escaped, and without any trace in the weights."""

import random

import numpy as np
import torch

from components.model.vision import num_image_tokens
from components.tracking.store import open_store
from components.training import launch
from components.training.samples import AnsweredItem, answer_samples, choose_items, item_of, samples_page
from drills.kill_training import STAGE, make_packs, outcome, tiny_settings
from tests.components.training.conftest import QUESTIONS
from tests.components.training.test_module import data_module
from tests.components.training.test_resume import stage_runs
from tests.fakes.models import tiny_model

TOKENS = num_image_tokens(tiny_model().vision)


def test_a_conversation_comes_out_of_its_pack_as_it_went_in(packs_folder, processor):
    pack = data_module(packs_folder, processor).train_packs[0][1]
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    for number, pair in enumerate(pack.pair_ids):
        item = item_of(pack, number, image_token=image, image_tokens=TOKENS)
        row, question = (int(part) for part in pair.split("-"))
        asked, answer = QUESTIONS[question]
        assert item.images == (row,)
        assert f"{asked}<|im_end|>\n<|im_start|>assistant\n" in processor.tokenizer.decode(item.prompt)
        assert processor.tokenizer.decode(item.gold) == f"{answer}<|im_end|>"
        assert item.prompt.count(image) == TOKENS


def test_items_are_spread_over_the_packs_and_the_same_each_time(packs_folder, processor):
    packs = data_module(packs_folder, processor).train_packs
    names = {"image_token": processor.tokenizer.convert_tokens_to_ids("<image>"), "image_tokens": TOKENS}
    chosen = choose_items(packs, 3, **names)
    assert chosen == choose_items(packs, 3, **names) and len(set(chosen)) == len(chosen)
    assert len(choose_items(packs, 1000, **names)) == len(packs)


def test_answering_leaves_model_and_random_generators_as_they_were(packs_folder, processor, vlm):
    data = data_module(packs_folder, processor)
    before = {name: value.clone() for name, value in vlm.train().state_dict().items()}
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    wanted = torch.rand(1).item(), random.random(), np.random.rand()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    first = answer_samples(vlm, processor, data, 2)
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == wanted
    assert vlm.training and all(torch.equal(before[name], value) for name, value in vlm.state_dict().items())
    assert [item.answer for item in first] == [item.answer for item in answer_samples(vlm, processor, data, 2)]
    assert first[0].pictures[0].shape == (32, 32, 3)


def test_a_page_holds_its_pictures_and_no_foreign_markup():
    item = AnsweredItem((np.zeros((4, 4, 3), np.uint8),), "<b>where?</b>", "left & right", "<script>")
    page = samples_page([item], title="first")
    assert "data:image/png;base64," in page and "<script>" not in page and "&lt;b&gt;where?" in page
    assert "left &amp; right" in page


def test_a_stage_shows_samples_when_asked_and_ends_in_the_same_bytes(tracked):
    ends = []
    for count in (0, 3):
        settings = tiny_settings(steps=4, every=0, workers=0, samples=count)
        settings = settings.model_copy(update={"tracking": tracked.tracking})
        if not count:
            make_packs(settings)
        launch.run_train(settings, STAGE)
        ends.append(outcome(settings))
        run = max(stage_runs(settings), key=lambda row: row.info.start_time)
        names = [file.path for file in open_store(settings).client.list_artifacts(run.info.run_id, "samples")]
        assert names == (["samples/step-00000004.html"] if count else [])
    assert ends[0] == ends[1]
