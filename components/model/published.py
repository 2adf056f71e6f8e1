"""What a published folder or hub name says of itself, read without running anything that lies in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from components.errors import ConfigError

PREPROCESSING = ("preprocessor_config.json", "processor_config.json")


def is_offline() -> bool:
    """Say whether the hub must not be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "") == "1"


def read_config(place: str, *, where: str, revision: str = "main") -> Any:
    """Return the transformers config of a folder or hub name.

    Raises:
        ConfigError: transformers holds no such architecture; the published class would be remote code.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(
            place, revision=revision, trust_remote_code=False, local_files_only=is_offline()
        )
    except ValueError as error:
        raise ConfigError(
            f"{place}: transformers has no such architecture, and remote code is refused",
            where=where,
            fix="choose a family that transformers holds; InternLM2 is converted from a folder on this disk",
        ) from error


def read_preprocessing(place: str, *, revision: str = "main") -> dict[str, Any]:
    """Return what a folder or hub name says of its pictures' preprocessing; nothing where a folder is silent.

    Raises:
        ConfigError: a hub name has no such file, or it cannot be had.
    """
    from transformers import CLIPImageProcessorPil

    if Path(place).is_dir() and not any((Path(place) / name).is_file() for name in PREPROCESSING):
        return {}
    try:
        said, _ = CLIPImageProcessorPil.get_image_processor_dict(
            place, revision=revision, local_files_only=is_offline()
        )
    except OSError as error:
        raise ConfigError(
            f"{place}: its {PREPROCESSING[0]} cannot be read", where="model.vision.pretrained",
            fix="download the whole repository and name its folder",
        ) from error  # fmt: skip
    return said
