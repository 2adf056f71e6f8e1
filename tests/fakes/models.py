"""Model settings small enough for a test: thousands of parameters, a byte tokenizer, no files."""

from __future__ import annotations

from components.settings import LanguageModel, Model, Vision


def tiny_vision(**changes) -> Vision:
    values = {
        "family": "siglip", "pretrained": "", "revision": "", "image_size": 32, "patch_size": 16,
        "hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64, "feature_layer": -1,
    }  # fmt: skip
    return Vision(**{**values, **changes})


def tiny_language(**changes) -> LanguageModel:
    values = {
        "source": "random", "family": "llama", "path": "", "sha256": "", "revision": "", "hidden_size": 32,
        "layers": 2, "heads": 4, "key_value_heads": 2, "intermediate_size": 64, "vocabulary": 0,
        "tie_embeddings": True,
    }  # fmt: skip
    return LanguageModel(**{**values, **changes})


def tiny_model(*, vision: Vision | None = None, language: LanguageModel | None = None) -> Model:
    return Model(
        name="test",
        vision=vision or tiny_vision(),
        language=language or tiny_language(),
        chat_template="chatml",
        max_length=400,
    )


# Every tower with every language model that LLaVA is composed of here. SigLIP 2 (fixed size) is SigLIP's
# architecture, SmolLM and a converted InternLM2 are Llama's, the former with tied embeddings.
EVERY_FAMILY = [
    tiny_model(vision=vision, language=language)
    for vision in (
        tiny_vision(),
        tiny_vision(family="clip", feature_layer=-2, layers=3),
        tiny_vision(family="dinov2"),
    )
    for language in (
        tiny_language(),
        tiny_language(tie_embeddings=False),
        tiny_language(family="qwen2"),
        tiny_language(family="qwen3", tie_embeddings=False),
        tiny_language(family="internlm3", tie_embeddings=False),
        tiny_language(family="smollm3"),
    )
]

# InternVL's space to depth before the projector, under each tower.
SHUFFLED = [
    tiny_model(vision=tiny_vision(patch_size=8, pixel_shuffle=2)),
    tiny_model(vision=tiny_vision(family="clip", feature_layer=-2, layers=3, patch_size=8, pixel_shuffle=2)),
    tiny_model(
        vision=tiny_vision(family="dinov2", patch_size=8, pixel_shuffle=4),
        language=tiny_language(family="qwen2", tie_embeddings=False),
    ),
]
EVERY_FAMILY += SHUFFLED


def family_name(model: Model) -> str:
    tied = "-tied" if model.language.tie_embeddings else ""
    joined = f"-shuffle{model.vision.pixel_shuffle}" if model.vision.pixel_shuffle > 1 else ""
    return f"{model.vision.family}{joined}-{model.language.family}{tied}"
