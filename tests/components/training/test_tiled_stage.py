"""Joined patches and cut pictures through packing, collator, training and the forecast."""

import io
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from components.model.vlm import load_vlm
from components.records import Turn
from components.tracking.tables import write_table
from components.training import launch, pack
from components.training.datamodule import PackDataModule
from components.training.expected import assumed_facts
from components.training.module import StageModule, pack_losses
from drills.kill_training import STAGE, make_packs, outcome, tiny_settings
from tests.components.training.test_module import stage
from tests.components.training.test_pack_text import pair
from tests.fakes.models import tiny_model, tiny_vision
from tests.fakes.tables import make_pair, make_record, write_corpus

TILED = tiny_vision(patch_size=8, pixel_shuffle=2, max_tiles=4)
SHAPES = ((64, 32), (40, 40), (32, 96))  # 2, 1 and 3 squares, and thumbnails


def png(size):
    content = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def packed(tmp_path):
    """Three records of different shapes, through the pack stage's own functions."""
    from components.model.vlm import make_processor

    model = tiny_model(vision=TILED)
    processor = make_processor(model, "unused")
    records = [
        make_record(number, patient="p", split="train", image=png(size), width=size[0], height=size[1])
        for number, size in enumerate(SHAPES)
    ]
    pairs = [make_pair(record, "Which?", "this") for record in records]
    root = write_corpus(tmp_path, records, pairs)
    work = SimpleNamespace(count=lambda **_: None, scratch=tmp_path)
    folder = root / "packs" / "images"
    needed = {record.record_id for record in records}
    rows = pack._write_images(folder, needed, root / "records", processor.image_processor, TILED)
    encoded = pack._encode(pairs, processor, SimpleNamespace(model=model), work, rows)
    packs = list(pack._packs(pairs, encoded, rows, max_length=400, seed=1))
    for split in ("train", "validation"):
        table = (pack.pack_row(one, dict.fromkeys(one.pair_ids, "vqa")) for one in packs)
        write_table(root / "packs" / "m" / split, table, pack.pack_schema())
    return SimpleNamespace(root=root, rows=rows, model=model, processor=processor)


def test_a_picture_lies_in_the_store_once_a_square_and_the_index_names_the_whole(packed):
    assert list(packed.rows.values()) == [(0, 1, 2), (3,), (4, 5, 6, 7)]
    index = pq.read_table(packed.root / "packs" / "images" / "index.parquet").to_pydict()
    assert index["row"] == [2, 3, 7]
    assert np.load(packed.root / "packs" / "images" / "pixels.npy").shape == (8, 32, 32, 3)


def test_the_loss_of_a_pack_of_cut_pictures_is_transformers_own_over_its_conversations(packed):
    from components.model.vlm import compose_vlm

    vlm = compose_vlm(packed.model, "unused", seed=2).eval()
    data = PackDataModule(
        packed.root / "packs", mixture="m", image_processor=packed.processor.image_processor, pad_id=0,
        micro_batch=1, workers=0, seed=0,
    )  # fmt: skip
    (one,) = [data.train_packs[place][1] for place in range(len(data.train_packs))]
    batch = data.collator([("p", one)])
    module = StageModule(vlm, stage(), name="t", steps=1, log=lambda *_: None)
    with torch.no_grad():
        ours = pack_losses(vlm, batch, image_features=module.image_features(batch)).sum()
    theirs, first = 0.0, 0
    for segment in range(int(one.segments.max()) + 1):
        mine = one.segments == segment
        ids = torch.from_numpy(one.ids[mine].astype(np.int64)).unsqueeze(0)
        labels = ids.masked_fill(~torch.from_numpy(one.supervised[mine]).unsqueeze(0), -100)
        squares = int((ids == vlm.config.image_token_index).sum()) // vlm.config.image_seq_length
        with torch.no_grad():
            out = vlm(input_ids=ids, pixel_values=batch.pixels[first : first + squares], labels=labels)
        theirs += float(out.loss) * int((labels != -100).sum())
        first += squares
    assert first == len(batch.images) == 8
    assert float(ours) == pytest.approx(theirs, abs=1e-4)


def test_a_pair_whose_marks_are_not_its_images_is_counted(packed, tmp_path):
    counted = {}
    work = SimpleNamespace(count=lambda **counts: counted.update(counts), scratch=tmp_path)
    bad = pair("b", (Turn("human", "What?"), Turn("gpt", "This.")), ("record000",))
    settings = SimpleNamespace(model=packed.model)
    assert pack._encode([bad], packed.processor, settings, work, packed.rows) == {}
    assert counted["rejected"] == {"image_marks_differ": 1}


def test_a_stage_with_joined_patches_ends_in_a_folder_that_answers(tracked):
    settings = tiny_settings(steps=3, every=0, workers=0)
    model = settings.model.model_copy(
        update={"vision": settings.model.vision.model_copy(update={"pixel_shuffle": 2})}
    )
    settings = settings.model_copy(update={"tracking": tracked.tracking, "model": model})
    make_packs(settings)
    launch.run_train(settings, STAGE)
    assert len(outcome(settings)["seen"]) == 6
    vlm = load_vlm(settings.work_root / "models" / STAGE)
    assert type(vlm.model).__name__ == "AyaVisionForConditionalGeneration" and vlm.image_tokens == 4
    assert isinstance(vlm.answer(Image.new("RGB", (20, 20)), "What?", max_new_tokens=2), str)


def test_the_forecast_counts_every_square_that_a_pack_holds():
    from components.settings import compose, settings_from

    raw = compose(["preset=gmai_vl_7b", "model.vision.pixel_shuffle=2", "model.vision.max_tiles=6"])
    settings = settings_from(raw, where="conf")
    facts, source = assumed_facts(settings, next(iter(settings.recipe.stages.values())))
    assert facts.images == 14 and "7 squares" in source  # 14 x 144 tokens fit into 2,048
    few = settings.model.model_copy(update={"max_length": 1024})
    facts, _ = assumed_facts(
        settings.model_copy(update={"model": few}), next(iter(settings.recipe.stages.values()))
    )
    assert facts.images == 7
