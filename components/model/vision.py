"""The image encoder and its preprocessing: CLIP, SigLIP or DINOv2, pretrained or fresh.

Preprocessing is one path for training and serving: resize to the tower's square (no crop, so that boxes as
shares of width and height stay true), then the family's own mean and deviation. `stored_pixels` is the first
half, done once when packing; `normalised` the second half, done on the fly.

B batch, S image side in pixels, T image tokens, D hidden size.
"""

from __future__ import annotations

from typing import Any

from components.settings import Vision

FAMILIES = {
    # family: (config class, image processor class, feature strategy, extra tokens before the patches)
    "siglip": ("SiglipVisionConfig", "SiglipImageProcessorPil", "full", 0),
    "clip": ("CLIPVisionConfig", "CLIPImageProcessorPil", "default", 1),
    "dinov2": ("Dinov2Config", "BitImageProcessorPil", "default", 1),
}


def vision_config(vision: Vision) -> Any:
    """Return the tower's transformers config, from its folder or hub name, or from the settings' sizes."""
    import transformers

    if vision.pretrained:
        config = transformers.AutoConfig.from_pretrained(vision.pretrained, revision=vision.revision or "main")
        return getattr(config, "vision_config", config)
    sizes: dict[str, Any] = {
        "hidden_size": vision.hidden_size, "num_hidden_layers": vision.layers,
        "num_attention_heads": vision.heads, "image_size": vision.image_size, "patch_size": vision.patch_size,
    }  # fmt: skip
    if vision.family == "dinov2":
        sizes["mlp_ratio"] = vision.intermediate_size // vision.hidden_size
    else:
        sizes["intermediate_size"] = vision.intermediate_size
    if vision.family == "siglip":
        sizes["vision_use_head"] = False
    return getattr(transformers, FAMILIES[vision.family][0])(**sizes)


def make_image_processor(vision: Vision) -> Any:
    """Return the family's PIL image processor, set to resize to the tower's square without cropping."""
    import transformers

    side = {"height": vision.image_size, "width": vision.image_size}
    options: dict[str, Any] = {"size": side, "do_convert_rgb": True}
    if vision.family != "siglip":
        options["do_center_crop"] = False
    return getattr(transformers, FAMILIES[vision.family][1])(**options)


def feature_strategy(vision: Vision) -> str:
    """Return LLaVA's `vision_feature_select_strategy`: "default" drops the class token, "full" keeps all."""
    return FAMILIES[vision.family][2]


def num_image_tokens(vision: Vision) -> int:
    """Return T, the number of projected features an image takes in the text."""
    return (vision.image_size // (vision.patch_size * vision.pixel_shuffle)) ** 2


def stored_pixels(processor: Any, images: list[Any]) -> Any:
    """Resize RGB PIL images to (N, S, S, 3) uint8, exactly as the processor does before it normalises."""
    import numpy as np

    batch = processor(images, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"]
    return np.ascontiguousarray(np.rint(batch).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def normalised(processor: Any, pixels: Any) -> Any:
    """Turn stored pixels (N, S, S, 3) uint8 into the tower's input (N, 3, S, S) float32 tensor."""
    import torch

    mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
    deviation = torch.tensor(processor.image_std).view(1, 3, 1, 1)
    values = torch.as_tensor(pixels).permute(0, 3, 1, 2).float() * processor.rescale_factor
    return (values - mean) / deviation
