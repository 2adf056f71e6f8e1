"""Settings of the model: vision tower, language model, and what joins them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.settings.base import Frozen, Positive


class Vision(Frozen):
    """The image encoder: a pretrained folder or hub name, or a fresh one of these sizes."""

    family: Literal["siglip", "clip", "dinov2"]
    pretrained: str = Field(description="local folder or hub name; empty makes a fresh encoder")
    revision: str = Field(description="pinned revision of the hub model, or empty")
    image_size: Positive = Field(description="side in pixels")
    patch_size: Positive = Field(description="side in pixels")
    hidden_size: Positive
    layers: Positive
    heads: Positive
    intermediate_size: Positive
    feature_layer: int = Field(le=-1, description="hidden layer handed to the projector, from the end")
    pixel_shuffle: Positive = Field(
        default=1, description="patches of a side joined into one image token; 1 joins none"
    )
    max_tiles: Positive = Field(
        default=1, description="squares a picture is cut into by its shape, and a thumbnail; 1 resizes it whole"
    )

    @model_validator(mode="after")
    def _sizes_divide(self) -> Vision:
        joined = self.patch_size * self.pixel_shuffle
        if self.image_size % joined:
            by = f"patch_size {self.patch_size}" + (
                f" x pixel_shuffle {self.pixel_shuffle}" * (joined > self.patch_size)
            )
            raise ValueError(f"image_size {self.image_size} is not a multiple of {by}")
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        return self


class LanguageModel(Frozen):
    """The language model: a GGUF file in the data packages, a pretrained folder or hub name, or a fresh one."""

    source: Literal["gguf", "pretrained", "random"]
    family: Literal["llama", "qwen2", "qwen3", "internlm3", "smollm3"]
    path: str = Field(description="GGUF file, folder, or hub name; empty for random")
    sha256: str = Field(description="pinned hash of the GGUF file, or empty")
    revision: str = Field(description="pinned revision of the hub model, or empty")
    hidden_size: int = Field(ge=0, description="for random or meta construction; 0 when read from the weights")
    layers: int = Field(ge=0)
    heads: int = Field(ge=0)
    key_value_heads: int = Field(ge=0)
    intermediate_size: int = Field(ge=0)
    vocabulary: int = Field(ge=0, description="tokens; 0 when read from the weights")
    tie_embeddings: bool = Field(description="output head shares the input embedding")


class Model(Frozen):
    """What LLaVA is composed of."""

    name: str
    vision: Vision
    language: LanguageModel
    chat_template: Literal["chatml", "internlm2"]
    max_length: Positive = Field(description="longest pack, in tokens, image tokens included")
