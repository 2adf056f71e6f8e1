"""What the benchmarks of training share: the model, its packs, and how a pack is taken apart."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RATE = 1e-5
STAGES = {"I": ("projector",), "II": ("projector", "vision"), "III": ("projector", "vision", "language")}


def conversations_of(pack: Any, image_token: int) -> Iterator[Any]:
    """Take a pack apart into packs of one conversation and its images."""
    import numpy as np

    from components.model.packing import Pack
    from components.training.datamodule import pairs_of_tokens

    numbers, taken = pairs_of_tokens(pack), 0
    images_left = list(pack.images)
    for segment in range(int(pack.segments.max()) + 1):
        here = pack.segments == segment
        shared = here & (pack.branches == 0)
        count = images_of_segment(pack, here, image_token)
        images, images_left = tuple(images_left[:count]), images_left[count:]
        for number in sorted(set(numbers[here & (numbers >= 0)].tolist())):
            chosen = shared | (numbers == number)
            yield Pack(
                pair_ids=(pack.pair_ids[number],), images=images, ids=pack.ids[chosen],
                positions=pack.positions[chosen], branches=(numbers[chosen] == number).astype(np.int16),
                supervised=pack.supervised[chosen], segments=np.zeros(int(chosen.sum()), np.int16),
            )  # fmt: skip
            taken += 1
    assert taken == len(pack.pair_ids)


def images_of_segment(pack: Any, here: Any, image_token: int) -> int:
    """Count a segment's images by its image tokens (every image has as many)."""
    is_image = pack.ids == image_token
    every = int(is_image.sum())
    return int((is_image & here).sum()) * len(pack.images) // every if every else 0


def supervised(items: Sequence[Any]) -> int:
    """Count the tokens that are learned from."""
    from components.model.packing import targets

    return sum(int((targets(pack, ignore=-1) != -1).sum()) for _, pack in items)


@dataclass(frozen=True)
class Setting:
    """The model, how packs become micro-batches, the packs of each stage and how many a micro-batch holds."""

    vlm: Any
    collator: Any
    packs: dict[str, list[Any]]
    micro_batch: int
    rates: dict[str, float]
    precision: str

    def apart(self, packs: Sequence[Any]) -> list[Any]:
        """Return each conversation of the packs as an item of its own."""
        token = self.vlm.config.image_token_index
        return [
            (f"{name}-{n}", one) for name, pack in packs for n, one in enumerate(conversations_of(pack, token))
        ]

    def peers_batch(self, packs: Sequence[Any]) -> int:
        """Return how many conversations a micro-batch of these packs holds on average."""
        return max(1, round(len(self.apart(packs)) * self.micro_batch / len(packs)))


def load_setting(size: str, folder: Path, micro_batches: int) -> Setting:
    """Return the model and each stage's first micro-batches of packs."""
    from components.model.vlm import compose_vlm, make_processor
    from components.settings import compose, settings_from
    from components.training.datamodule import PackDataModule
    from drills.kill_training import make_packs, tiny_settings

    if size == "tiny":
        os.chdir(folder)
        settings = tiny_settings(steps=1, every=0, workers=0)
        make_packs(settings)
        mixtures = dict.fromkeys(STAGES, "alignment")
        rates = dict.fromkeys(STAGES, next(iter(settings.recipe.stages.values())).learning_rate)
    else:
        from flows.run import make_available

        make_available(ROOT, Path("artifacts/packs"), target="pack")
        os.chdir(ROOT)
        settings = settings_from(compose([], folder=ROOT / "conf"), where="conf")
        stages = settings.recipe.stages.values()
        mixtures = dict(zip(STAGES, (row.mixture for row in stages), strict=True))
        rates = dict(zip(STAGES, (row.learning_rate for row in stages), strict=True))
    processor = make_processor(settings.model, settings.packages_root)
    packs, wanted = {}, micro_batches * settings.training.micro_batch
    for stage, mixture in mixtures.items():
        data = PackDataModule(
            settings.work_root / "packs", mixture=mixture, image_processor=processor.image_processor,
            pad_id=processor.tokenizer.pad_token_id, micro_batch=1, workers=0, seed=0,
        )  # fmt: skip
        packs[stage] = [data.train_packs[index] for index in range(min(wanted, len(data.train_packs)))]
    vlm = compose_vlm(settings.model, settings.packages_root, seed=0).train()
    training = settings.training
    return Setting(vlm, data.collator, packs, training.micro_batch, rates, training.precision)
