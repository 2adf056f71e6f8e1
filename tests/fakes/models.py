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
