"""The vision-language model: transformers' LLaVA composed from settings, its three parts, and its answers.

Parts are "vision", "projector" and "language"; every parameter belongs to exactly one (the output head is
the language model's). A checkpoint folder is plain transformers: `LlavaForConditionalGeneration` loads it.
With `pixel_shuffle` the class is transformers' Aya Vision instead, the one there that joins neighbouring patches
before its projector (space to depth, norm, gated MLP; InternVL's idea, arXiv 2404.16821 section 3.1) and takes any
tower and language model; parts and names are the same, and `AutoModelForImageTextToText` loads either.

B batch, L tokens, T image tokens an image, N images, D the language model's hidden size, S image side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from components.errors import CheckpointError
from components.model import chat
from components.model.language import language_config, load_language_weights, load_tokenizer
from components.model.tiles import tiles_of
from components.model.vision import (
    FAMILIES,
    feature_strategy,
    load_tower,
    make_image_processor,
    num_image_tokens,
    vision_config,
)
from components.settings import Model

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

CLASSES = {"llava": "LlavaForConditionalGeneration", "aya_vision": "AyaVisionForConditionalGeneration"}
PART_PREFIXES = {
    "vision": ("model.vision_tower.",),
    "projector": ("model.multi_modal_projector.",),
    "language": ("model.language_model.", "lm_head."),
}


def part_of(parameter: str) -> str:
    """Name the part a parameter belongs to; raise ValueError for one that belongs to none."""
    for part, prefixes in PART_PREFIXES.items():
        if parameter.startswith(prefixes):
            return part
    raise ValueError(f"parameter {parameter!r} belongs to no part of the model")


def make_processor(model: Model, packages_root: Path) -> LlavaProcessor:
    """Build the processor: tokenizer with `<image>`, image processor, and the project's chat template."""
    from transformers import LlavaProcessor

    return LlavaProcessor(
        image_processor=make_image_processor(model.vision),
        tokenizer=load_tokenizer(model.language, packages_root),
        patch_size=model.vision.patch_size * model.vision.pixel_shuffle,
        vision_feature_select_strategy=feature_strategy(model.vision),
        num_additional_image_tokens=FAMILIES[model.vision.family].extra_tokens,
        chat_template=chat.chat_template(model.chat_template),
    )


def make_config(model: Model, packages_root: Path, *, vocabulary: int, image_token: int) -> Any:
    """Compose the config; the vocabulary grows when the tokenizer holds more than the language model."""
    from transformers import AyaVisionConfig, LlavaConfig

    text = language_config(model.language, packages_root, vocabulary=vocabulary)
    text.vocab_size = max(text.vocab_size, vocabulary)
    values: dict[str, Any] = {
        "tie_word_embeddings": model.language.tie_embeddings,
        "vision_feature_select_strategy": feature_strategy(model.vision),
        "vision_config": vision_config(model.vision),
        "text_config": text,
        "image_token_index": image_token,
        "image_seq_length": num_image_tokens(model.vision),
        "vision_feature_layer": model.vision.feature_layer,
    }
    if model.vision.max_tiles > 1:  # what serves the model must cut pictures as training did
        values |= {"max_tiles": model.vision.max_tiles}
    if model.vision.pixel_shuffle == 1:
        return LlavaConfig(**values, projector_hidden_act="gelu")
    gated = 2 * text.hidden_size  # half of it gates the other half
    values |= {"downsample_factor": model.vision.pixel_shuffle, "alignment_intermediate_size": gated}
    return AyaVisionConfig(**values)


def model_class(config: Any) -> Any:
    """Return the class of transformers that a composed config belongs to.

    Raises:
        CheckpointError: the config is of another architecture.
    """
    import transformers

    if config.model_type not in CLASSES:
        raise CheckpointError(f"a {config.model_type} model is none of {', '.join(CLASSES)}", where="config.json")
    return getattr(transformers, CLASSES[config.model_type])


def compose_vlm(model: Model, packages_root: Path, *, seed: int) -> LlavaForConditionalGeneration:
    """Build the model with fresh weights from `seed`, then lay the pretrained ones over them."""
    processor = make_processor(model, packages_root)
    image_token = processor.tokenizer.convert_tokens_to_ids(chat.IMAGE_TOKEN)
    config = make_config(model, packages_root, vocabulary=len(processor.tokenizer), image_token=image_token)
    torch.manual_seed(seed)
    vlm = model_class(config)(config)
    load_language_weights(vlm, model.language, packages_root)
    load_tower(vlm, model.vision)
    return vlm


def build_on_meta(model: Model, packages_root: Path) -> LlavaForConditionalGeneration:
    """Build the model's shape without memory or weights, to count and to plan (any size, any machine)."""
    processor = make_processor(model, packages_root)
    image_token = processor.tokenizer.convert_tokens_to_ids(chat.IMAGE_TOKEN)
    config = make_config(model, packages_root, vocabulary=len(processor.tokenizer), image_token=image_token)
    with torch.device("meta"):
        return model_class(config)(config)


def count_parameters(vlm: torch.nn.Module) -> dict[str, int]:
    """Count parameters a part (works on the meta device)."""
    counts = dict.fromkeys(PART_PREFIXES, 0)
    for name, parameter in vlm.named_parameters():
        counts[part_of(name)] += parameter.numel()
    return counts


def is_idle(name: str, *, num_layers: int, feature_layer: int) -> bool:
    """Say whether a vision parameter has no path to the loss: behind the layer that is projected.

    LLaVA projects hidden layer `feature_layer` (counted from the end), so later layers, the last norm and
    pooling heads never receive a gradient; DDP would wait for them for ever.
    """
    if not name.startswith(PART_PREFIXES["vision"]):
        return False
    rest = name.removeprefix(PART_PREFIXES["vision"][0])
    layer = re.match(r"encoder\.layers?\.(\d+)\.", rest)
    if layer:
        return int(layer.group(1)) > num_layers + feature_layer
    return not rest.startswith(("embeddings.", "pre_")) or rest.endswith("mask_token")


def train_only(vlm: Any, parts: Iterable[str]) -> set[str]:
    """Let the named parts learn and freeze the rest; return the names of the parameters that learn."""
    chosen = set(parts)
    num_layers, layer = vlm.config.vision_config.num_hidden_layers, vlm.config.vision_feature_layer
    for name, parameter in vlm.named_parameters():
        idle = is_idle(name, num_layers=num_layers, feature_layer=layer)
        parameter.requires_grad_(part_of(name) in chosen and not idle)
    return {name for name, parameter in vlm.named_parameters() if parameter.requires_grad}


def project(vlm: Any, features: torch.Tensor) -> torch.Tensor:
    """Project vision features (N, P, D_vision) to the language model's space (N, T, D); P is T unless joined."""
    projected = vlm.model.multi_modal_projector(features)
    return projected.reshape(len(features), -1, projected.shape[-1])  # Aya's keeps rows and columns apart


def vision_features(vlm: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Encode normalised pixels (N, 3, S, S) to the layer LLaVA projects: (N, T, D_vision)."""
    config = vlm.config
    output = vlm.model.vision_tower(pixels, output_hidden_states=True)
    features = output.hidden_states[config.vision_feature_layer]
    return features[:, 1:] if config.vision_feature_select_strategy == "default" else features


def embed_with_images(vlm: Any, ids: torch.Tensor, image_features: torch.Tensor | None) -> torch.Tensor:
    """Embed ids (B, L) and lay projected features (N, T, D) over the image tokens, in reading order."""
    embeddings = vlm.get_input_embeddings()(ids)
    if image_features is None:
        return embeddings
    is_image = (ids == vlm.config.image_token_index).unsqueeze(-1).expand_as(embeddings)
    flat = image_features.reshape(-1, embeddings.shape[-1]).to(embeddings.dtype)
    return embeddings.masked_scatter(is_image, flat)


@dataclass(frozen=True)
class VLM:
    """A loaded model ready to answer."""

    model: Any
    processor: Any

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def image_tokens(self) -> int:
        """T, the tokens an image takes."""
        return int(self.model.config.image_seq_length)

    @property
    def max_tiles(self) -> int:
        """The squares a picture may be cut into; 1 when pictures are resized whole."""
        return int(getattr(self.model.config, "max_tiles", 1))

    def encode_each(self, images: Sequence[Image]) -> list[torch.Tensor]:
        """Encode and project RGB images, each cut into its squares: (T x squares, D) an image."""
        side = self.model.config.vision_config.image_size
        cut = [tiles_of(image, side=side, most=self.max_tiles) for image in images]
        features = self.encode_images([tile for tiles in cut for tile in tiles])
        return [part.flatten(0, 1) for part in features.split([len(tiles) for tiles in cut])]

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image]) -> torch.Tensor:
        """Encode and project RGB images: (N, T, D)."""
        pixels = self.processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
        return project(self.model, vision_features(self.model, pixels.to(self.model.device)))

    def prompt_ids(self, question: str, num_images: int = 1, *, tokens: Sequence[int] | None = None) -> list[int]:
        """Return the prompt's ids; a question without `<image>` gets `num_images` of them in front.

        `tokens` says how many tokens each image takes, where pictures are cut into squares.
        """
        missing = max(num_images - question.count(chat.IMAGE_TOKEN), 0)
        text = f"{chat.IMAGE_TOKEN}\n" * missing + question
        taken = self.image_tokens if tokens is None or self.max_tiles == 1 else tokens
        return chat.encode_prompt(self.tokenizer, text, image_tokens=taken)

    def embed(self, ids: torch.Tensor, image_features: torch.Tensor | None) -> torch.Tensor:
        """Embed ids (B, L) with image features laid over the image tokens: (B, L, D)."""
        return embed_with_images(self.model, ids, image_features)

    @torch.no_grad()
    def answer(self, image: Image, question: str, *, max_new_tokens: int = 48) -> str:
        """Answer one question about one image, greedily."""
        [features] = self.encode_each([image.convert("RGB")])
        prompt = self.prompt_ids(question, tokens=[len(features)])
        return self.continue_from(prompt, features, max_new_tokens=max_new_tokens)

    @torch.no_grad()
    def continue_from(self, prompt: list[int], features: torch.Tensor | None, *, max_new_tokens: int) -> str:
        """Continue a prompt greedily; `features` (..., D) lie over its image tokens in reading order."""
        ids = torch.tensor([prompt], device=self.model.device)
        output = self.model.generate(
            inputs_embeds=self.embed(ids, features),
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=self.tokenizer.convert_tokens_to_ids(chat.TURN_END),
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return self.tokenizer.decode(output[0], skip_special_tokens=True).strip()


def load_vlm(folder: Path, *, dtype: torch.dtype = torch.float32) -> VLM:
    """Load a stage's checkpoint folder; safetensors only, no remote code.

    Raises:
        CheckpointError: the folder holds no complete checkpoint.
    """
    from transformers import AutoConfig, AutoProcessor

    if not (folder / "model.safetensors").is_file() and not (folder / "model.safetensors.index.json").is_file():
        raise CheckpointError("no safetensors checkpoint here", where=str(folder), fix="dvc repro")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model = model_class(config).from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    return VLM(model.eval(), processor)


def save_vlm(model: Any, processor: Any, folder: Path) -> None:
    """Write weights (safetensors), config, tokenizer and processor into `folder`."""
    model.save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
