"""Supervised tokens a second, ours against transformers' Trainer: `python benchmarks/training_vs_peers.py`.

Same weights, conversations, optimiser, precision and machine, one after the other in one process. The peer is
`transformers.Trainer` over `LlavaForConditionalGeneration` with the usual collator: one conversation a row, padded
to the longest, its image with it, logits everywhere. Ours is the stage's own module over packs of the very same
conversations. Packs are read from artifacts/packs (made first, if absent), or made from coloured squares (--size
tiny). A step is the preset's: a micro-batch of packs for ours, and for the peer as many conversations as such a
micro-batch holds on average, so both sides take as many steps. Stages I and II read the alignment packs, III the
instruction ones. The peer goes first: then ours asks the C library to keep freed memory, as the stages do and a
script around Trainer does not. Ours is measured as conf/ ships it, and with decoder layers written out. Then
each switch is turned round alone (the feature cache in stage I, where the tower rests, once it is filled), and the
losses of 20 steps of each stage are compared, at its own rate, in fp32 and without packing. The last line is JSON.
Alone on two cores the default takes some fifteen minutes.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
RATE = 1e-5
STAGES = {"I": ("projector",), "II": ("projector", "vision"), "III": ("projector", "vision", "language")}
TARGETS = {"I": 3.0, "II": 2.0, "III": 2.0}
WRITTEN_OUT = {"written_out_layers": "all"}
SWITCHES = {
    "logits at supervised positions": {"supervised_logits": False},
    "fused AdamW": {"fused_optimizer": False},
    "decoder layers as modules": WRITTEN_OUT,
    "no torch.compile": {"compile": True},
    "no padding to buckets": {"bucket_lengths": True},
    "activations kept": {"activation_checkpointing": True},
}
CURVE_STEPS, CURVE_LIMIT = 20, 1e-3
BUCKET = 64  # tokens, as the stages round up to


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


class Peer:
    """transformers' Trainer over single conversations."""

    def __init__(
        self, vlm: Any, collator: Any, *, trains: Sequence[str], bf16: bool, learning_rate: float = RATE
    ) -> None:
        from components.model.vlm import train_only

        self.vlm, self.collator, self.bf16, self.learning_rate = vlm, collator, bf16, learning_rate
        train_only(vlm, trains)

    def collate(self, items: list[Any]) -> dict[str, Any]:
        """Pad to the longest; labels are the tokens themselves, shifted inside the model."""
        import torch

        packs = [pack for _, pack in items]
        length = max(len(pack) for pack in packs)
        ids = torch.full((len(packs), length), self.collator.pad_id)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for row, pack in enumerate(packs):
            size = len(pack)
            ids[row, :size], mask[row, :size] = torch.as_tensor(pack.ids).long(), 1
            learn = torch.as_tensor(pack.supervised)
            labels[row, :size][learn] = ids[row, :size][learn]
        pixels = self.collator(items).pixels
        return {"input_ids": ids, "labels": labels, "attention_mask": mask, "pixel_values": pixels}

    def run(self, items: Sequence[Any], *, batch: int) -> tuple[list[float], float]:
        """Train one pass in the given order; return the loss of each step and the seconds but the first step's."""
        import torch
        from transformers import Trainer, TrainerCallback, TrainingArguments

        class Clock(TrainerCallback):
            def __init__(self) -> None:
                self.ends: list[float] = []

            def on_step_end(self, *_: Any, **__: Any) -> None:
                self.ends.append(time.perf_counter())

        class InOrder(Trainer):
            def _get_train_sampler(self, train_dataset: Any = None) -> Any:
                return torch.utils.data.SequentialSampler(items)

        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder, per_device_train_batch_size=batch, num_train_epochs=1,
                learning_rate=self.learning_rate,
                lr_scheduler_type="constant", max_grad_norm=1.0, weight_decay=0.0, bf16=self.bf16, use_cpu=True,
                logging_steps=1, save_strategy="no", report_to=[], remove_unused_columns=False, disable_tqdm=True,
                seed=0,
            )  # fmt: skip
            trainer = InOrder(
                model=self.vlm, args=arguments, train_dataset=items, data_collator=self.collate, callbacks=[clock]
            )
            trainer.train()
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        return losses, clock.ends[-1] - clock.ends[0]


def run_ours(
    setting: Setting, items: Sequence[Any], *, trains: Sequence[str], batch: int, bf16: bool,
    speed: dict[str, Any] | None = None, learning_rate: float = RATE, cache: Any = None,
) -> tuple[list[float], float]:  # fmt: skip
    """Train one pass with the stage's own module; return the loss of each step and the seconds but the first's."""
    import lightning.pytorch as lightning
    from torch.utils.data import DataLoader

    from components.settings import Speed, Stage
    from components.training.module import StageModule

    losses, ends = [], []

    def log(point: dict[str, float], _: int) -> None:
        losses.append(point["loss"])

    class Clock(lightning.Callback):
        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    stage = Stage(
        trains=tuple(trains), starts_from="-", mixture="-", learning_rate=learning_rate, schedule="constant",
        warmup_ratio=0.0, weight_decay=0.0, clip=1.0, packs_per_step=batch, epochs=1.0, max_steps=0,
    )  # fmt: skip
    switches, collator = Speed(**(speed or {})), copy.copy(setting.collator)
    collator.multiple = BUCKET if switches.bucket_lengths else 1
    loader = DataLoader(list(items), batch_size=batch, collate_fn=collator)
    module = StageModule(
        copy.deepcopy(setting.vlm), stage, name="-", steps=len(loader), log=log, speed=switches, features=cache
    )
    lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, gradient_clip_val=1.0, callbacks=[Clock()],
        precision="bf16-mixed" if bf16 else "32-true",
    ).fit(module, loader)  # fmt: skip
    return losses, ends[-1] - ends[0]


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


def measured_rate(bf16: bool) -> float:
    """Return this machine's matrix products a second, in operations, at the run's precision."""
    import torch

    size = 1536
    left = torch.randn(size, size, dtype=torch.bfloat16 if bf16 else torch.float32)
    left @ left
    started = time.perf_counter()
    for _ in range(5):
        left @ left
    return 5 * 2 * size**3 / (time.perf_counter() - started)


def peers_rate(setting: Setting, name: str, *, batch: int) -> float:
    """Return the peer's supervised tokens a second in a stage, leaving the first step out."""
    singles = setting.apart(setting.packs[name])
    peer = Peer(copy.deepcopy(setting.vlm), setting.collator, trains=STAGES[name], bf16=True)
    _, seconds = peer.run(singles, batch=batch)
    return supervised(singles[batch:]) / seconds


def our_rate(setting: Setting, name: str, speed: dict[str, Any]) -> float:
    """Return our supervised tokens a second in a stage, leaving the first step out."""
    packs, micro = setting.packs[name], setting.micro_batch
    _, seconds = run_ours(setting, packs, trains=STAGES[name], batch=micro, bf16=True, speed=speed)
    return supervised(packs[micro:]) / seconds


def compare_stages(setting: Setting, *, batch: int) -> list[dict[str, Any]]:
    """Measure every stage on both sides, the peer first."""
    from components.model.machine import keep_freed_memory

    batches = {name: batch or setting.peers_batch(setting.packs[name]) for name in STAGES}
    theirs = {name: peers_rate(setting, name, batch=batches[name]) for name in STAGES}
    keep_freed_memory()
    rows = []
    for name, peer in theirs.items():
        ours, written = our_rate(setting, name, {}), our_rate(setting, name, WRITTEN_OUT)
        rows.append({
            "name": f"stage {name}", "ours": round(ours, 1), "peer": round(peer, 1),
            "times": round(ours / peer, 2), "times_written_out": round(written / peer, 2),
            "target": TARGETS[name], "unit": "supervised tokens/s", "conversations_a_step": batches[name],
        })  # fmt: skip
    return rows


def gains(setting: Setting, packs: list[Any]) -> dict[str, float]:
    """Return for each switch how many times faster the last stage is with it than without."""

    def rate(items: Sequence[Any], batch: int, speed: dict[str, Any]) -> float:
        _, taken = run_ours(setting, items, trains=STAGES["III"], batch=batch, bf16=True, speed=speed)
        return supervised(items[batch:]) / taken

    rate(packs, setting.micro_batch, {})  # the first run is slower than any: memory grows
    first = rate(packs, setting.micro_batch, {})
    others = {name: rate(packs, setting.micro_batch, speed) for name, speed in SWITCHES.items()}
    others["packing and one encoding an image"] = rate(setting.apart(packs), setting.peers_batch(packs), {})
    base = (first + rate(packs, setting.micro_batch, {})) / 2
    found = {name: base / other for name, other in others.items()}
    found["features kept of a frozen tower"] = 1 / kept_features_cost(setting)
    return {name: round(value, 2) for name, value in found.items()}


def feature_cache_for(setting: Setting, folder: Path) -> Any:
    """Return an empty feature cache of the setting's tower in a folder."""
    from components.training.features import FeatureCache

    return FeatureCache(folder, setting.collator.pixels, recipe={"tower": "of this benchmark"})


def kept_features_cost(setting: Setting) -> float:
    """Return the seconds of stage I with its features kept from a pass before, over those of encoding them."""
    packs, trains, batch = setting.packs["I"], STAGES["I"], setting.micro_batch
    _, plain = run_ours(setting, packs, trains=trains, batch=batch, bf16=True)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):  # the first fills it
            cache = feature_cache_for(setting, Path(folder))
            _, kept = run_ours(setting, packs, trains=trains, batch=batch, bf16=True, cache=cache)
    return kept / plain


def loss_curve(setting: Setting, name: str, *, steps: int) -> dict[str, Any]:
    """Compare a stage's losses of so many steps in fp32, one conversation a row, at the stage's own rate."""
    singles, trains, rate = setting.apart(setting.packs[name]), STAGES[name], setting.rates[name]
    singles *= -(-steps // len(singles))  # read again where there are fewer than steps
    batch = max(1, len(singles) // steps)
    singles = singles[: batch * steps]
    ours, _ = run_ours(setting, singles, trains=trains, batch=batch, bf16=False, learning_rate=rate)
    peer = Peer(copy.deepcopy(setting.vlm), setting.collator, trains=trains, bf16=False, learning_rate=rate)
    theirs, _ = peer.run(singles, batch=batch)
    return {
        "steps": len(ours), "learning_rate": rate, "conversations_a_step": batch,
        "difference": max(abs(a - b) for a, b in zip(ours, theirs, strict=True)),
        "first": round(ours[0], 4), "last": round(ours[-1], 4), "peer_last": round(theirs[-1], 4),
    }  # fmt: skip


def utilisation(setting: Setting, packs: list[Any]) -> float:
    """Return the last stage's operations a second over this machine's measured rate."""
    from components.training.forecast import PackFacts, pack_flops, shape_of

    trains, shape, micro = STAGES["III"], shape_of(setting.vlm), setting.micro_batch
    _, seconds = run_ours(setting, packs, trains=trains, batch=micro, bf16=True)
    flops = sum(
        pack_flops(shape, PackFacts(1, len(pack), float(pack.supervised.sum()), len(pack.images)), trains=trains)
        for _, pack in packs[micro:]
    )
    return flops / seconds / measured_rate(bf16=True)


def main() -> None:
    """Measure, print a row a figure, and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("tiny", "default"), default="default")
    parser.add_argument("--steps", type=int, default=6, help="steps a side and stage; the first is not counted")
    parser.add_argument(
        "--batch", type=int, default=0, help="conversations a step of the peer; 0: as many as ours"
    )
    chosen = parser.parse_args()
    from components.training.launch import quieten

    quieten()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        setting = load_setting(chosen.size, Path(folder), chosen.steps)
        rows = compare_stages(setting, batch=chosen.batch)
        for row in rows:
            print(f"{row['name']}: ours {row['ours']}, Trainer {row['peer']} {row['unit']}: "
                  f"{row['times']} x (written out {row['times_written_out']}), of {row['target']}")  # fmt: skip
        last = setting.packs["III"]
        switches = gains(setting, last[: 3 * setting.micro_batch])
        for name, times in switches.items():
            print(f"{name}: {times} times")
        curves = {f"stage {name}": loss_curve(setting, name, steps=CURVE_STEPS) for name in STAGES}
        difference = max(row["difference"] for row in curves.values())
        share = utilisation(setting, last)
        os.chdir(home)
    for name, row in curves.items():
        print(f"{name}: losses of {row['steps']} steps at {row['learning_rate']:g} from {row['first']} to "
              f"{row['last']}, differing by at most {row['difference']:.2e} (limit {CURVE_LIMIT:g})")  # fmt: skip
    print(f"utilisation in stage III: {share:.1%} of the measured product rate")
    worst = min(rows, key=lambda row: row["times"] / row["target"])
    print(
        json.dumps(
            {
                "name": "training_vs_peers", "ratio": worst["times"], "target": worst["target"],
                "ratio_written_out": worst["times_written_out"],
                "ratio_of": worst["name"], "size": chosen.size, "peer": "transformers.Trainer, padded",
                "figures": rows, "switches": switches, "loss_difference": difference,
                "loss_difference_target": CURVE_LIMIT, "loss_curves": curves, "utilisation": share,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
