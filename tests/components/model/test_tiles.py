"""Pictures cut by their shape, and every reader of the model agreeing on how many tokens they take."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from components.evaluation.engine import Ask, answer_closed, encode_images, generate_texts
from components.model.chat import encode_conversation
from components.model.tiles import most_images, tile_grid, tiles_of
from components.model.vlm import VLM, build_on_meta, compose_vlm, load_vlm, make_processor, save_vlm
from components.records import Turn
from tests.fakes.models import tiny_model, tiny_vision

NOWHERE = Path("unused")
TILED = tiny_model(vision=tiny_vision(patch_size=8, pixel_shuffle=2, max_tiles=4))
WIDE = Image.linear_gradient("L").convert("RGB").resize((64, 32))


@pytest.fixture(scope="module")
def vlm():
    return VLM(compose_vlm(TILED, NOWHERE, seed=3).eval(), make_processor(TILED, NOWHERE))


@pytest.mark.parametrize(
    ("size", "most", "grid"),
    [
        ((800, 400), 12, (2, 1)), ((400, 800), 12, (1, 2)), ((448, 448), 12, (1, 1)),
        ((2000, 2000), 12, (3, 3)), ((1000, 10), 6, (6, 1)), ((900, 600), 12, (3, 2)), ((900, 600), 5, (2, 2)),
    ],
)  # fmt: skip
def test_the_grid_is_the_one_nearest_to_the_pictures_shape(size, most, grid):
    assert tile_grid(*size, side=448, most=most) == grid


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ValueError, match="no shape"):
        tile_grid(0, 5, side=32, most=4)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 9))
def test_squares_are_never_more_than_allowed_and_the_last_is_the_whole(width, height, most):
    image = Image.new("RGB", (width, height))
    tiles = tiles_of(image, side=16, most=most)
    assert 1 <= len(tiles) <= most_images(most) and len(tiles) != 2
    assert tiles[-1] is image and all(tile.size == (16, 16) for tile in tiles[:-1])


def test_squares_come_in_reading_order():
    image = Image.new("RGB", (64, 32), (255, 0, 0))
    image.paste((0, 0, 255), (32, 0, 64, 32))
    left, right, whole = tiles_of(image, side=32, most=4)
    assert left.getpixel((4, 4)) == (255, 0, 0) and right.getpixel((28, 28)) == (0, 0, 255)
    assert whole.size == (64, 32)


def test_each_mark_takes_its_own_images_tokens():
    tokenizer = make_processor(TILED, NOWHERE).tokenizer
    turns = [Turn("human", "<image>\n<image>\nThe same?"), Turn("gpt", "no")]
    image = tokenizer.convert_tokens_to_ids("<image>")
    ids = encode_conversation(tokenizer, turns, image_tokens=[12, 4]).ids
    assert ids.count(image) == 16
    for wrong, message in (([4], "more <image>"), ([4, 4, 4], "more images")):
        with pytest.raises(ValueError, match=message):
            encode_conversation(tokenizer, turns, image_tokens=wrong)


def test_a_tiled_model_is_served_as_plain_transformers_computes_it(vlm, tmp_path):
    save_vlm(vlm.model, vlm.processor, tmp_path)
    again = load_vlm(tmp_path)
    assert again.max_tiles == 4 and build_on_meta(TILED, NOWHERE).config.max_tiles == 4
    [features] = again.encode_each([WIDE])
    assert len(features) == 3 * again.image_tokens
    ids = torch.tensor([again.prompt_ids("What?", tokens=[len(features)])])
    tiles = tiles_of(WIDE, side=32, most=4)
    pixels = again.processor.image_processor(tiles, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        ours = again.model(inputs_embeds=again.embed(ids, features)).logits
        theirs = again.model(input_ids=ids, pixel_values=pixels).logits
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert again.answer(WIDE, "What?", max_new_tokens=3) == vlm.answer(WIDE, "What?", max_new_tokens=3)


@torch.no_grad()
def test_the_evaluation_gives_each_image_the_tokens_of_its_squares(vlm):
    pictures = {"wide": WIDE, "square": WIDE.resize((32, 32))}
    features = encode_images(vlm, pictures.items(), advance=lambda _: None)
    assert len(features["wide"]) == 3 * len(features["square"])
    features = {name: value.float() for name, value in features.items()}
    asks = [Ask((name,), "<image>\nWhich?", ("a", "bc")) for name in ("wide", "square")]
    asks.append(Ask(("square", "wide"), "<image>\n<image>\nWhich?", ("a", "bc")))
    one = [answer_closed(vlm, [ask], features, batch_size=1, advance=lambda _: None)[0] for ask in asks]
    all_at_once = answer_closed(vlm, asks, features, batch_size=3, advance=lambda _: None)
    for first, second in zip(one, all_at_once, strict=True):
        assert first.shares == pytest.approx(second.shares, abs=1e-5)
    assert len(generate_texts(vlm, asks, features, max_new_tokens=2, batch_size=2, advance=lambda _: None)) == 3
