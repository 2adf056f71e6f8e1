"""The image encoder and its preprocessing: CLIP, SigLIP or DINOv2, pretrained or fresh.

Preprocessing is one path for training and serving: resize to the tower's square (no crop, so that boxes as
shares of width and height stay true), then the tower's own mean and deviation: those of its
preprocessor_config.json, or its family's. `stored_pixels` is the first half, done once when packing; `normalised`
the second half, done on the fly. SigLIP 2 of a fixed size is SigLIP's architecture and lies under its name; NaFlex
towers, towers with registers and remote code are refused.

B batch, S image side in pixels, T image tokens, D hidden size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from components.errors import ConfigError
from components.model.published import read_config, read_preprocessing
from components.settings import Vision


class Family(NamedTuple):
    """What the towers of one architecture share."""

    config: str
    image_processor: str
    strategy: str  # LLaVA's vision_feature_select_strategy
    extra_tokens: int  # before the patches
    model_types: tuple[str, ...]  # of a published config's vision side
    preprocessing: dict[str, Any] = {}  # where the family's differs from its processor class's


IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
FAMILIES = {
    "siglip": Family("SiglipVisionConfig", "SiglipImageProcessorPil", "full", 0, ("siglip_vision_model",)),
    "clip": Family("CLIPVisionConfig", "CLIPImageProcessorPil", "default", 1, ("clip_vision_model",)),
    # DINOv2 publishes BiT's processor class with ImageNet's numbers; the class alone has CLIP's.
    "dinov2": Family("Dinov2Config", "BitImageProcessorPil", "default", 1, ("dinov2",), IMAGENET),
}


def vision_config(vision: Vision) -> Any:
    """Return the tower's transformers config, from its folder or hub name, or from the settings' sizes.

    Raises:
        ConfigError: the settings contradict the published tower, or it is of another family.
    """
    import transformers

    if vision.pretrained:
        return _published_config(vision)
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
    return getattr(transformers, FAMILIES[vision.family].config)(**sizes)


def _published_config(vision: Vision) -> Any:
    where = "model.vision"
    config = read_config(vision.pretrained, where=f"{where}.pretrained", revision=vision.revision or "main")
    config = getattr(config, "vision_config", config)
    family = FAMILIES[vision.family]
    if config.model_type not in family.model_types:
        raise ConfigError(
            f"a {config.model_type} tower is not of the {vision.family} family", where=f"{where}.family",
            fix=f"choose the family of {vision.pretrained}; known: {', '.join(FAMILIES)}",
        )  # fmt: skip
    if vision.family == "dinov2":
        config.image_size = vision.image_size  # its table of positions is resized when the weights are laid
    for name in ("image_size", "patch_size"):
        asked, own = getattr(vision, name), getattr(config, name)
        if asked != own:
            raise ConfigError(
                f"{name} {asked}, and the tower's is {own}", where=f"{where}.{name}", fix=f"{name}={own}"
            )
    if -vision.feature_layer > config.num_hidden_layers + 1:
        said = f"feature_layer {vision.feature_layer} of a tower with {config.num_hidden_layers} layers"
        raise ConfigError(said, where=f"{where}.feature_layer", fix="-1 is the last layer, -2 the one before it")
    return config


def load_tower(vlm: Any, vision: Vision) -> None:
    """Lay a pretrained tower's weights (safetensors only) into a composed model; nothing for a fresh one.

    DINOv2's positions are resized once as it resizes them on every pass, so that the saved config names the size.
    """
    from transformers import AutoModel

    if not vision.pretrained:
        return
    whole = AutoModel.from_pretrained(
        vision.pretrained, revision=vision.revision or "main", use_safetensors=True, trust_remote_code=False
    )
    tower = getattr(whole, "vision_model", whole)
    weights = tower.state_dict()
    if vision.family == "dinov2":
        held = vlm.model.vision_tower.embeddings.position_embeddings
        side = vision.image_size
        table = tower.embeddings.interpolate_pos_encoding(held.to(whole.dtype), side, side)
        weights["embeddings.position_embeddings"] = table
    vlm.model.vision_tower.load_state_dict(weights)


def make_image_processor(vision: Vision) -> Any:
    """Return the family's PIL image processor, set to resize to the tower's square without cropping.

    Mean, deviation, scale and resampling are the pretrained tower's own, or its family's.

    Raises:
        ConfigError: the tower's preprocessing cannot be read.
    """
    import transformers

    family = FAMILIES[vision.family]
    side = {"height": vision.image_size, "width": vision.image_size}
    options: dict[str, Any] = {"size": side, "do_convert_rgb": True, **family.preprocessing}
    if vision.pretrained:
        options |= _own_preprocessing(read_preprocessing(vision.pretrained, revision=vision.revision or "main"))
    if vision.family != "siglip":
        options["do_center_crop"] = False
    return getattr(transformers, family.image_processor)(**options)


def _own_preprocessing(said: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers to prepare pictures with; a step that is left out becomes one that changes nothing."""
    own = {name: said[name] for name in ("image_mean", "image_std", "resample", "rescale_factor") if name in said}
    if not said.get("do_rescale", True):
        own["rescale_factor"] = 1.0
    if not said.get("do_normalize", True):
        own |= {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    return own


def feature_strategy(vision: Vision) -> str:
    """Return LLaVA's `vision_feature_select_strategy`: "default" drops the class token, "full" keeps all."""
    return FAMILIES[vision.family].strategy


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
