"""What a stage's packs are like and what it will cost: by the packs on this disk, or published sizes.

Packs on this disk count when they are of the very settings; otherwise the recipe's `sizes` do. It is said which.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from components.errors import ConfigError
from components.model.tiles import most_images
from components.settings import Settings, Stage
from components.tracking.digest import digest_json
from components.tracking.stage import settings_section
from components.training.disk import DataPart, data_parts
from components.training.forecast import PackFacts, Shape, StageForecast, forecast_stage
from components.training.pack import DECIDE_PACKS
from components.training.stages import num_steps

PAIRS_A_PACK = 2  # arXiv 2411.14522 v1 Table 8: "soft packing", about two samples a pack
ASSUMED_SUPERVISED = 0.3


def forecasts_of(
    settings: Settings, shape: Shape, *, any_packs: bool = False
) -> tuple[list[StageForecast], list[DataPart]]:
    """Return each stage's forecast and the data's parts; `any_packs` counts packs of other settings as well."""
    forecasts, facts = [], {}
    for name, stage in settings.recipe.stages.items():
        if stage.mixture not in facts:  # stages share mixtures, and counting reads all of one's packs
            facts[stage.mixture], _ = pack_facts(settings, stage, any_packs=any_packs)
        steps = num_steps(
            facts[stage.mixture].packs, packs_per_step=stage.packs_per_step, epochs=stage.epochs,
            max_steps=stage.max_steps,
        )  # fmt: skip
        forecasts.append(
            forecast_stage(settings, stage, name=name, shape=shape, facts=facts[stage.mixture], steps=steps)
        )
    counted = any_packs or has_packs(settings)
    return forecasts, data_parts(settings, facts, counted=counted)


def pack_facts(settings: Settings, stage: Stage, *, any_packs: bool = False) -> tuple[PackFacts, str]:
    """Return what a stage's packs are like, and from what: the packs on this disk, if they are of these settings.

    Otherwise the published sizes in the recipe; `any_packs` counts those on this disk whatever they are of.
    """
    folder = settings.work_root / "packs"
    manifest = manifest_of(folder)
    counts = manifest.get("details", {}).get(f"{stage.mixture}/train") if manifest else None
    if counts and (any_packs or has_packs(settings)):
        packs = max(counts["packs"], 1)
        images = _images_in(folder / stage.mixture / "train")
        facts = PackFacts(counts["packs"], counts["tokens"] / packs, counts["supervised"] / packs, images / packs)
        return facts, f"{counts['packs']} packs counted in {folder}"
    facts, source = assumed_facts(settings, stage)
    return facts, source + (f"; the packs in {folder} are of other settings" if manifest else "")


def has_packs(settings: Settings) -> bool:
    """Say whether the packs on this disk were made with these settings."""
    manifest = manifest_of(settings.work_root / "packs")
    return manifest.get("settings_hash") == digest_json(
        {section: settings_section(settings, section) for section in DECIDE_PACKS}
    )


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return what the packs below a folder say of themselves; nothing when there are none."""
    path = folder / "manifest.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def assumed_facts(settings: Settings, stage: Stage) -> tuple[PackFacts, str]:
    """Return packs from the recipe's published sizes: full packs of about two pairs, an image a pair."""
    from components.model.vision import num_image_tokens

    samples = expected_samples(settings, stage.mixture)
    if not samples:
        raise ConfigError(
            f"no packs of mixture {stage.mixture!r} and no published sizes to count from",
            where="artifacts/packs, recipe.sizes",
            fix="dvc repro pack",
        )
    length, vision = settings.model.max_length, settings.model.vision
    tiles = most_images(vision.max_tiles)
    images = min(PAIRS_A_PACK * tiles, max(length // num_image_tokens(vision), 1)) if tiles > 1 else PAIRS_A_PACK
    facts = PackFacts(math.ceil(samples / PAIRS_A_PACK), length, length * ASSUMED_SUPERVISED, images)
    cut = f" of {tiles} squares, as many as a pack holds" if tiles > 1 else ""
    source = (
        f"{samples / 1e6:.2f} M samples (published sizes x ratios), {PAIRS_A_PACK} a pack of {length} tokens, "
        f"{ASSUMED_SUPERVISED:.0%} supervised, an image{cut} a sample (an upper bound where there is text alone)"
    )
    return facts, source


def expected_samples(settings: Settings, mixture: str) -> float:
    """Return the samples a mixture draws in one pass: published size times ratio, over its sources."""
    ratios = settings.recipe.mixtures[mixture].sources
    return sum(size * ratios.get(source, 1.0) for source, size in settings.recipe.sizes.items())


def _images_in(folder: Path) -> int:
    from components.tracking.tables import read_table

    return sum(len(chunk.flatten()) for chunk in read_table(folder, ["images"]).column("images").chunks)
