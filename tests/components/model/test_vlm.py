from pathlib import Path

import pytest
import torch
from PIL import Image

from components.errors import CheckpointError
from components.model.vision import make_image_processor, normalised, num_image_tokens, stored_pixels
from components.model.vlm import (
    compose_vlm,
    count_parameters,
    load_vlm,
    make_processor,
    part_of,
    save_vlm,
    train_only,
)
from tests.fakes.models import EVERY_FAMILY, family_name, tiny_model, tiny_vision

NOWHERE = Path("unused")


@pytest.mark.parametrize("model", EVERY_FAMILY, ids=family_name)
def test_a_saved_model_loads_in_plain_transformers_with_the_same_logits(model, tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration

    vlm = compose_vlm(model, NOWHERE, seed=3).eval()
    processor = make_processor(model, NOWHERE)
    save_vlm(vlm, processor, tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32)
    assert isinstance(again, LlavaForConditionalGeneration) == (model.vision.pixel_shuffle == 1)
    inputs = AutoProcessor.from_pretrained(tmp_path, backend="pil")(
        text="<image>\nhello", images=Image.new("RGB", (50, 40), (9, 80, 7)), return_tensors="pt"
    )
    with torch.no_grad():
        difference = (vlm(**inputs).logits - again(**inputs).logits).abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize("model", EVERY_FAMILY, ids=family_name)
def test_our_embedding_of_images_is_transformers_own(model, tmp_path):
    save_vlm(compose_vlm(model, NOWHERE, seed=3), make_processor(model, NOWHERE), tmp_path)
    vlm = load_vlm(tmp_path)
    image = Image.new("RGB", (50, 40), (9, 80, 7))
    ids = torch.tensor([vlm.prompt_ids("hello")])
    pixels = vlm.processor.image_processor([image], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        ours = vlm.model(inputs_embeds=vlm.embed(ids, vlm.encode_images([image]))).logits
        theirs = vlm.model(input_ids=ids, pixel_values=pixels).logits
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert int((ids == vlm.model.config.image_token_index).sum()) == num_image_tokens(model.vision)


def test_joining_patches_divides_the_image_tokens_by_the_factor_squared():
    plain, joined = tiny_vision(patch_size=4), tiny_vision(patch_size=4, pixel_shuffle=2)
    assert num_image_tokens(plain) == 64 == 4 * num_image_tokens(joined)
    with pytest.raises(ValueError, match="not a multiple of patch_size 16 x pixel_shuffle 4"):
        tiny_vision(pixel_shuffle=4)


def test_each_joined_token_holds_neighbouring_patches():
    vlm = compose_vlm(tiny_model(vision=tiny_vision(patch_size=8, pixel_shuffle=2)), NOWHERE, seed=0)
    patches = torch.arange(16.0).reshape(1, 16, 1).expand(1, 16, 32)  # a picture of 4 x 4 patches
    joined = vlm.model.multi_modal_projector.pixel_shuffle(patches).reshape(4, 4, 32)[:, :, 0]
    assert [sorted(row) for row in joined.tolist()] == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]


def test_every_parameter_belongs_to_one_part_and_only_chosen_parts_learn():
    vlm = compose_vlm(tiny_model(), NOWHERE, seed=0)
    learning = train_only(vlm, ["projector"])
    assert {part_of(name) for name in learning} == {"projector"}
    assert sum(count_parameters(vlm).values()) == sum(p.numel() for p in vlm.parameters())
    with pytest.raises(ValueError, match="belongs to no part"):
        part_of("model.adapter.weight")


def test_vision_parameters_behind_the_projected_layer_never_learn():
    vlm = compose_vlm(tiny_model(vision=tiny_vision(family="clip", feature_layer=-2)), NOWHERE, seed=0)
    learning = train_only(vlm, ["vision"])
    assert not any("layers.1." in name or "post_layernorm" in name for name in learning)
    assert any("layers.0." in name for name in learning)


def test_the_same_seed_gives_the_same_weights():
    first, second, third = (compose_vlm(tiny_model(), NOWHERE, seed=seed) for seed in (1, 1, 2))
    state = [m.model.multi_modal_projector.linear_1.weight for m in (first, second, third)]
    assert torch.equal(state[0], state[1]) and not torch.equal(state[0], state[2])


def test_stored_pixels_then_normalising_is_the_processors_own_path():
    for family in ("siglip", "clip", "dinov2"):
        processor = make_image_processor(tiny_vision(family=family))
        image = Image.effect_noise((77, 51), 60).convert("RGB")
        whole = processor([image], return_tensors="pt")["pixel_values"]
        assert torch.allclose(whole, normalised(processor, stored_pixels(processor, [image])), atol=1e-5)


def test_a_folder_without_safetensors_is_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match="no safetensors"):
        load_vlm(tmp_path)


def test_a_folder_of_another_architecture_is_refused(tmp_path):
    compose_vlm(tiny_model(), NOWHERE, seed=3).model.language_model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="a llama model is none of llava, aya_vision"):
        load_vlm(tmp_path)


def test_an_answer_is_greedy_and_repeatable(tmp_path):
    save_vlm(compose_vlm(tiny_model(), NOWHERE, seed=3), make_processor(tiny_model(), NOWHERE), tmp_path)
    vlm = load_vlm(tmp_path)
    image = Image.new("RGB", (30, 30), (200, 0, 0))
    assert vlm.answer(image, "What?", max_new_tokens=5) == vlm.answer(image, "What?", max_new_tokens=5)
