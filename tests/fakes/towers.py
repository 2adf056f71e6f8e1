"""Tiny towers and language models in local folders, laid out as their authors publish them (safetensors only)."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.fakes.models import tiny_language, tiny_vision

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
HALF = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
SHAPE = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
}  # fmt: skip
TEXT = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 8,
}  # fmt: skip
# As in the preprocessor_config.json of openai/clip-vit-large-patch14-336, google/siglip-base-patch16-224,
# google/siglip2-base-patch16-224 and facebook/dinov2-base, at this size.
PREPROCESSORS = {
    "clip": {
        "crop_size": 32, "do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3,
        "size": 32, "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": OPENAI[0],
        "image_std": OPENAI[1],
    },
    "siglip": {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3,
        "rescale_factor": 0.00392156862745098, "image_processor_type": "SiglipImageProcessor",
        "image_mean": HALF[0], "image_std": HALF[1], "size": {"height": 32, "width": 32},
    },
    "siglip2": {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 2,
        "rescale_factor": 0.00392156862745098, "image_processor_type": "SiglipImageProcessor",
        "image_mean": HALF[0], "image_std": HALF[1], "size": {"height": 32, "width": 32},
    },
    "dinov2": {
        "crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "do_convert_rgb": True,
        "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3,
        "rescale_factor": 0.00392156862745098, "image_processor_type": "BitImageProcessor",
        "image_mean": IMAGENET[0], "image_std": IMAGENET[1], "size": {"shortest_edge": 36},
    },
}  # fmt: skip
FEATURE_LAYERS = {"clip": -2, "siglip": -1, "siglip2": -1, "dinov2": -1}


def write_tower(name: str, folder: Path, *, preprocessor: dict | None = None) -> Path:
    """Write a random tower of one of these names; siglip2 is SigLIP's architecture, as its fixed sizes are."""
    import transformers as t

    torch.manual_seed(len(name))
    sized = {**SHAPE, "intermediate_size": 64}
    if name == "clip":
        model = t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config=sized, projection_dim=8))
    elif name == "dinov2":
        model = t.Dinov2Model(t.Dinov2Config(**SHAPE, mlp_ratio=2))
    else:
        model = t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=sized))
    model.save_pretrained(folder)
    rows = PREPROCESSORS[name] if preprocessor is None else preprocessor
    if rows:
        (folder / "preprocessor_config.json").write_text(json.dumps(rows))
    return folder


def pretrained_vision(name: str, folder: Path, **changes):
    family = "siglip" if name.startswith("siglip") else name
    values = {
        "family": family, "pretrained": str(folder), "patch_size": 8, "layers": 3,
        "feature_layer": FEATURE_LAYERS[name],
    }  # fmt: skip
    return tiny_vision(**{**values, **changes})


def write_language(family: str, folder: Path, *, tied: bool) -> Path:
    """Write a random language model with a tokenizer of bytes, as any hub folder lies on a disk."""
    from transformers import AutoModelForCausalLM

    from components.model.language import language_config, make_byte_tokenizer

    torch.manual_seed(7)
    tokenizer = make_byte_tokenizer()
    language = tiny_language(family=family, tie_embeddings=tied)
    config = language_config(language, folder, vocabulary=len(tokenizer))
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pretrained_language(family: str, folder: Path, *, tied: bool):
    return tiny_language(source="pretrained", family=family, path=str(folder), tie_embeddings=tied)
