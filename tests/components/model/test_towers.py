"""Each family's published tower through the real loading path: its preprocessing, and transformers' features."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.errors import ConfigError
from components.model.vision import make_image_processor, normalised, stored_pixels, vision_config
from components.model.vlm import compose_vlm, load_vlm, make_processor, save_vlm, vision_features
from tests.fakes.models import tiny_model, tiny_vision
from tests.fakes.towers import HALF, IMAGENET, OPENAI, PREPROCESSORS, pretrained_vision, write_tower

NOWHERE = Path("unused")
NAMES = list(PREPROCESSORS)
PUBLISHED = {"clip": OPENAI, "siglip": HALF, "siglip2": HALF, "dinov2": IMAGENET}


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    return {name: write_tower(name, tmp_path_factory.mktemp(name)) for name in NAMES}


def square_picture() -> Image.Image:
    drawn = np.random.default_rng(4).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(drawn)


def as_published(folder: Path, image: Image.Image, name: str) -> torch.Tensor:
    """Return a picture of the tower's own size as the published preprocessing makes it: nothing left to resize."""
    from transformers import AutoImageProcessor

    options = {"size": {"height": 32, "width": 32}} if name == "dinov2" else {}
    return AutoImageProcessor.from_pretrained(folder, backend="pil", **options)(image, return_tensors="pt")[
        "pixel_values"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_plain_transformers(name, towers, tmp_path):
    from transformers import AutoModel

    model = tiny_model(vision=pretrained_vision(name, towers[name]))
    vlm, image = compose_vlm(model, NOWHERE, seed=0).eval(), square_picture()
    plain = AutoModel.from_pretrained(towers[name], dtype=torch.float32, use_safetensors=True).eval()
    theirs_pixels = as_published(towers[name], image, name)
    with torch.no_grad():
        hidden = getattr(plain, "vision_model", plain)(theirs_pixels, output_hidden_states=True).hidden_states
        theirs = hidden[-2][:, 1:] if name == "clip" else hidden[-1][:, 1 if name == "dinov2" else 0 :]
    processor = make_processor(model, NOWHERE)
    save_vlm(vlm, processor, tmp_path)
    exported = load_vlm(tmp_path)
    in_training = normalised(processor.image_processor, stored_pixels(processor.image_processor, [image]))
    in_evaluation = exported.processor.image_processor([image], return_tensors="pt")["pixel_values"]
    for pixels, network in ((in_training, vlm), (in_evaluation, exported.model)):
        assert torch.allclose(pixels, theirs_pixels, atol=1e-5)
        with torch.no_grad():
            ours = vision_features(network, pixels)
        assert ours.shape == (1, 16, 32) and torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_tower_is_prepared_as_its_family_is(name):
    family = "siglip" if name.startswith("siglip") else name
    processor = make_image_processor(tiny_vision(family=family))
    assert [list(processor.image_mean), list(processor.image_std)] == [list(row) for row in PUBLISHED[name]]


def test_the_towers_own_numbers_win_over_its_familys(tmp_path):
    own = {**PREPROCESSORS["clip"], "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "resample": 2}
    folder = write_tower("clip", tmp_path / "own", preprocessor=own)
    processor = make_image_processor(pretrained_vision("clip", folder))
    assert list(processor.image_mean) == [0.1, 0.2, 0.3] and list(processor.image_std) == [0.5, 0.6, 0.7]
    assert int(processor.resample) == 2 and not processor.do_center_crop
    bare = {**PREPROCESSORS["clip"], "do_normalize": False, "do_rescale": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(bare))
    processor = make_image_processor(pretrained_vision("clip", folder))
    image = square_picture()
    assert np.array_equal(
        normalised(processor, stored_pixels(processor, [image])),
        processor([image], return_tensors="pt")["pixel_values"],
    )
    assert float(normalised(processor, stored_pixels(processor, [image])).max()) > 200


def test_a_tower_without_a_preprocessor_file_is_prepared_as_its_family_is(tmp_path):
    folder = write_tower("dinov2", tmp_path, preprocessor={})
    assert list(make_image_processor(pretrained_vision("dinov2", folder)).image_mean) == IMAGENET[0]


def test_dinov2_at_another_size_keeps_its_features_and_its_export_names_the_size(towers, tmp_path):
    from transformers import AutoModel

    vision = pretrained_vision("dinov2", towers["dinov2"], image_size=48)
    vlm = compose_vlm(tiny_model(vision=vision), NOWHERE, seed=0).eval()
    assert vlm.config.vision_config.image_size == 48
    plain = AutoModel.from_pretrained(towers["dinov2"], dtype=torch.float32, use_safetensors=True).eval()
    pixels = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = plain(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
        assert torch.allclose(vision_features(vlm, pixels), theirs, atol=1e-5)
        save_vlm(vlm, make_processor(tiny_model(vision=vision), NOWHERE), tmp_path)
        assert torch.allclose(vision_features(load_vlm(tmp_path).model, pixels), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("clip", {"image_size": 48}, "image_size 48, and the tower's is 32"),
        ("siglip", {"patch_size": 16}, "patch_size 16, and the tower's is 8"),
        ("dinov2", {"patch_size": 4}, "patch_size 4, and the tower's is 8"),
        ("clip", {"family": "siglip"}, "a clip_vision_model tower is not of the siglip family"),
        ("clip", {"feature_layer": -5}, "feature_layer -5 of a tower with 3 layers"),
    ],
)
def test_settings_that_the_tower_contradicts_are_refused(name, changes, said, towers):
    with pytest.raises(ConfigError, match=said):
        vision_config(pretrained_vision(name, towers[name], **changes))


def test_a_naflex_tower_and_one_with_remote_code_are_refused_by_name(tmp_path):
    vision = pretrained_vision("siglip", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
    with pytest.raises(ConfigError, match="siglip2_vision_model tower is not of the siglip family"):
        vision_config(vision)
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"model_type": "intern_vit_6b", "auto_map": {"AutoConfig": "configuration_intern_vit.InternViT"}}
        )
    )
    with pytest.raises(ConfigError, match="remote code"):
        vision_config(vision)
