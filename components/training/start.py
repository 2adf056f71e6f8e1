"""What a stage starts from: a processor and a composed model, or the committed model of another stage, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import CheckpointError
from components.model.chat import TURN_END
from components.model.vlm import compose_vlm, load_vlm
from components.settings import Settings, Stage
from components.tracking.digest import digest_json
from components.tracking.stage import run_sidecar, settings_section


def load_start(settings: Settings, stage: Stage) -> tuple[Any, Any]:
    """Load the model and processor that a stage starts from; a folder without weights gets a composed model."""
    from transformers import AutoProcessor

    folder = Path(stage.starts_from)
    if not folder.is_dir():
        raise CheckpointError("the folder this stage starts from is missing", where=str(folder), fix="dvc repro")
    if any(folder.glob("*.safetensors*")):
        loaded = load_vlm(folder)
        return loaded.model.train(), loaded.processor
    vlm = compose_vlm(settings.model, settings.packages_root, seed=settings.seed)
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    vlm.generation_config.eos_token_id = processor.tokenizer.convert_tokens_to_ids(TURN_END)
    vlm.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return vlm.train(), processor


def model_digest(settings: Settings) -> str:
    """Return the hash of the settings a model is composed by, as a stage's manifest keeps it."""
    return digest_json(settings_section(settings, "model"))


def check_start(settings: Settings, stage: Stage, digests: Mapping[str, str]) -> None:
    """Check the manifest of the stage that this one starts from; a start that no stage makes has none.

    `digests` are the hashes of what was read, by path, as the stage was opened with them.

    Raises:
        CheckpointError: the folder was committed by another stage or with another model, or was altered since.
    """
    folder = Path(stage.starts_from)
    if folder.name not in settings.recipe.stages:
        return
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        made_by, model = manifest["stage"], manifest["details"]["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refused(f"no manifest of a finished stage ({type(error).__name__})", folder) from error
    if made_by != f"train@{folder.name}":
        raise _refused(f"it was made by {made_by}, not by train@{folder.name}", folder)
    if model != model_digest(settings):
        raise _refused("it was made with another model than these settings compose", folder)
    sidecar = run_sidecar(folder)  # stays behind when DVC brings the folder from another machine
    committed = json.loads(sidecar.read_bytes())["output_digest"] if sidecar.is_file() else ""
    if committed and digests.get(folder.as_posix(), committed) != committed:
        raise _refused("it was altered after it was committed", folder)


def _refused(what: str, folder: Path) -> CheckpointError:
    return CheckpointError(
        f"a stage cannot start from this: {what}", where=str(folder), fix=f"dvc repro --force train@{folder.name}"
    )
