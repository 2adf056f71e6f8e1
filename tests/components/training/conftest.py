"""A tiny corpus of packs on disk, made by the real pack functions from hand-made pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from components.model.chat import encode_conversation
from components.model.packing import make_segments, pack_segments
from components.model.vision import make_image_processor, num_image_tokens, stored_pixels
from components.model.vlm import compose_vlm, make_processor
from components.records import Turn
from components.tracking.tables import write_table
from components.training.pack import pack_row, pack_schema
from tests.fakes.models import tiny_model

QUESTIONS = [
    ("Is there a kidney?", "yes"),
    ("Which plane is shown?", "axial"),
    ("How many nuclei are there?", "7"),
    ("What is the modality of this image?", "CT"),
]


@pytest.fixture(scope="module")
def one_thread():
    """Models of thousands of parameters: threads that wait for each other take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def conversations(processor, *, image_tokens):
    return [
        encode_conversation(
            processor.tokenizer, [Turn("human", f"<image>\n{q}"), Turn("gpt", a)], image_tokens=image_tokens
        )
        for q, a in QUESTIONS
    ]


@pytest.fixture(scope="session")
def packs_folder(tmp_path_factory):
    """Eight images, four questions each, packed; pixels and index as the pack stage writes them."""
    from PIL import Image

    model = tiny_model()
    folder = tmp_path_factory.mktemp("packs")
    processor = make_processor(model, "unused")
    rows = conversations(processor, image_tokens=num_image_tokens(model.vision))
    segments = [
        next(make_segments([(f"{image}-{n}", row) for n, row in enumerate(rows)], [image], max_length=400))
        for image in range(8)
    ]
    for split in ("train", "validation"):
        packs = list(pack_segments(segments, max_length=model.max_length))
        write_table(
            folder / "instruction" / split,
            (pack_row(pack, dict.fromkeys(pack.pair_ids, "percept")) for pack in packs),
            pack_schema(),
        )
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    images = [Image.fromarray(generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)) for _ in range(8)]
    np.save(folder / "images" / "pixels.npy", stored_pixels(make_image_processor(model.vision), images))
    (folder / "manifest.json").write_text(json.dumps({}))
    return folder


@pytest.fixture
def vlm():
    return compose_vlm(tiny_model(), "unused", seed=5)


@pytest.fixture(scope="session")
def processor():
    return make_processor(tiny_model(), "unused")
