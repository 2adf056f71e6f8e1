"""Supervised tokens a second, ours against transformers' Trainer: `python benchmarks/training_vs_peers.py`.

Same weights, conversations, optimiser, precision and machine, one after the other in one process. The peer is
`transformers.Trainer` over `LlavaForConditionalGeneration` with the usual collator: one conversation a row, padded
to the longest, its image with it, logits everywhere. Ours is the stage's own module over packs of the very same
conversations. Packs are read from artifacts/packs (made first, if absent), or made from coloured squares (--size
tiny). A step is the preset's: a micro-batch of packs for ours, and for the peer as many conversations as such a
micro-batch holds on average, so both sides take as many steps. Stages I and II read the alignment packs, III the
instruction ones. The peer goes first: then ours asks the C library to keep freed memory, as the stages do and a
script around Trainer does not. Ours is measured as conf/ ships it, with decoder layers written out, and with
nothing packed. Each figure is of --passes passes over the same steps, of each step the fastest. What each speed
switch does alone is measured by benchmarks/training_profile.py.

The losses of 20 steps of each stage are compared in fp32 and without packing: at the paper's rates, and stage III
at the default recipe's own, which is higher. Beside each stands how far Trainer then is from itself, attending by
transformers' plain products instead of torch's fused kernel: the same sums, rounded elsewhere, as ours are. The
last line is JSON. Alone on two cores the default takes some fifteen minutes.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.training.setting import RATE, STAGES, Setting, load_setting, supervised  # noqa: E402 - needs ROOT

TARGETS = {"I": 3.0, "II": 2.0, "III": 2.0}
WRITTEN_OUT = {"written_out_layers": "all"}
PAPER_RATES = {"I": 1e-3, "II": 1e-4, "III": 1e-5}  # arXiv 2411.14522, section 3
CURVE_STEPS, CURVE_LIMIT = 20, 1e-3
OWN_RATE = "stage III at its own rate"


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

    def run(self, items: Sequence[Any], *, batch: int) -> tuple[list[float], list[float]]:
        """Train one pass in the given order; return each step's loss, and the seconds of each but the first."""
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
        return losses, [after - before for before, after in pairwise(clock.ends)]


def run_ours(
    setting: Setting, items: Sequence[Any], *, trains: Sequence[str], batch: int, bf16: bool,
    speed: dict[str, Any] | None = None, learning_rate: float = RATE,
) -> tuple[list[float], list[float]]:  # fmt: skip
    """Train one pass with the stage's own module; return what `Peer.run` does."""
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
    loader = DataLoader(list(items), batch_size=batch, collate_fn=setting.collator)
    module = StageModule(
        copy.deepcopy(setting.vlm), stage, name="-", steps=len(loader), log=log, speed=Speed(**(speed or {}))
    )
    lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, gradient_clip_val=1.0, callbacks=[Clock()],
        precision="bf16-mixed" if bf16 else "32-true",
    ).fit(module, loader)  # fmt: skip
    return losses, [after - before for before, after in pairwise(ends)]


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


def rate_of(passes: Sequence[list[float]], items: Sequence[Any], *, batch: int) -> float:
    """Return supervised tokens a second from the seconds of each step but the first, of each its fastest pass."""
    return supervised(items[batch:]) / sum(min(step) for step in zip(*passes, strict=True))


def peers_rate(setting: Setting, name: str, *, batch: int, passes: int) -> float:
    """Return the peer's supervised tokens a second in a stage."""
    singles, taken = setting.apart(setting.packs[name]), []
    for _ in range(passes):
        peer = Peer(copy.deepcopy(setting.vlm), setting.collator, trains=STAGES[name], bf16=True)
        taken.append(peer.run(singles, batch=batch)[1])
    return rate_of(taken, singles, batch=batch)


def our_rates(setting: Setting, name: str, *, batch: int, passes: int) -> dict[str, float]:
    """Return our supervised tokens a second in a stage: as shipped, layers written out, and nothing packed.

    `batch` is the conversations of a step where nothing is packed.
    """
    packs, singles, micro = setting.packs[name], setting.apart(setting.packs[name]), setting.micro_batch
    ways: dict[str, tuple[list[Any], int, dict[str, Any]]] = {
        "shipped": (packs, micro, {}),
        "written out": (packs, micro, WRITTEN_OUT),
        "unpacked": (singles, batch, {}),
    }
    taken: dict[str, list[list[float]]] = {way: [] for way in ways}
    for _ in range(passes):
        for way, (items, size, speed) in ways.items():
            taken[way].append(run_ours(setting, items, trains=STAGES[name], batch=size, bf16=True, speed=speed)[1])
    return {way: rate_of(taken[way], items, batch=size) for way, (items, size, _) in ways.items()}


def compare_stages(setting: Setting, *, batch: int, passes: int) -> list[dict[str, Any]]:
    """Measure every stage on both sides, the peer first."""
    from components.model.machine import keep_freed_memory

    batches = {name: batch or setting.peers_batch(setting.packs[name]) for name in STAGES}
    theirs = {name: peers_rate(setting, name, batch=batches[name], passes=passes) for name in STAGES}
    keep_freed_memory()
    rows = []
    for name, peer in theirs.items():
        ours = our_rates(setting, name, batch=batches[name], passes=passes)
        rows.append({
            "name": f"stage {name}", "ours": round(ours["shipped"], 1), "peer": round(peer, 1),
            "times": round(ours["shipped"] / peer, 2), "times_written_out": round(ours["written out"] / peer, 2),
            "times_of_packing": round(ours["shipped"] / ours["unpacked"], 2),
            "target": TARGETS[name], "unit": "supervised tokens/s", "conversations_a_step": batches[name],
        })  # fmt: skip
    return rows


def apart_by(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the greatest difference of two curves, step by step."""
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def loss_curve(setting: Setting, name: str, *, rate: float, steps: int) -> dict[str, Any]:
    """Compare a stage's losses of so many steps in fp32, one conversation a row, and Trainer's with its own."""
    singles, trains = setting.apart(setting.packs[name]), STAGES[name]
    singles *= -(-steps // len(singles))  # read again where there are fewer than steps
    batch = max(1, len(singles) // steps)
    singles = singles[: batch * steps]

    def theirs(attention: str) -> list[float]:
        vlm = copy.deepcopy(setting.vlm)
        vlm.set_attn_implementation(attention)
        peer = Peer(vlm, setting.collator, trains=trains, bf16=False, learning_rate=rate)
        return peer.run(singles, batch=batch)[0]

    ours, _ = run_ours(setting, singles, trains=trains, batch=batch, bf16=False, learning_rate=rate)
    peer = theirs("sdpa")
    return {
        "steps": len(ours), "learning_rate": rate, "conversations_a_step": batch,
        "difference": apart_by(ours, peer), "peer_from_itself": apart_by(peer, theirs("eager")),
        "first": round(ours[0], 4), "last": round(ours[-1], 4), "peer_last": round(peer[-1], 4),
    }  # fmt: skip


def loss_curves(setting: Setting) -> dict[str, dict[str, Any]]:
    """Compare every stage at the paper's rate, and the last at the recipe's own."""
    found = {
        f"stage {name}": loss_curve(setting, name, rate=rate, steps=CURVE_STEPS)
        for name, rate in PAPER_RATES.items()
    }
    own = loss_curve(setting, "III", rate=setting.rates["III"], steps=CURVE_STEPS)
    return found | {OWN_RATE: own}


def utilisation(setting: Setting, packs: list[Any]) -> float:
    """Return the last stage's operations a second over this machine's measured rate."""
    from components.training.forecast import PackFacts, pack_flops, shape_of

    trains, shape, micro = STAGES["III"], shape_of(setting.vlm), setting.micro_batch
    _, seconds = run_ours(setting, packs, trains=trains, batch=micro, bf16=True)
    flops = sum(
        pack_flops(shape, PackFacts(1, len(pack), float(pack.supervised.sum()), len(pack.images)), trains=trains)
        for _, pack in packs[micro:]
    )
    return flops / sum(seconds) / measured_rate(bf16=True)


def main() -> None:
    """Measure, print a row a figure, and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("tiny", "default"), default="default")
    parser.add_argument("--steps", type=int, default=6, help="steps a side and stage; the first is not counted")
    parser.add_argument(
        "--passes", type=int, default=2, help="passes over the steps; of each step the fastest counts"
    )
    parser.add_argument(
        "--batch", type=int, default=0, help="conversations a step of the peer; 0: as many as ours"
    )
    chosen = parser.parse_args()
    from components.training.launch import quieten

    quieten()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        setting = load_setting(chosen.size, Path(folder), chosen.steps)
        rows = compare_stages(setting, batch=chosen.batch, passes=chosen.passes)
        for row in rows:
            print(f"{row['name']}: ours {row['ours']}, Trainer {row['peer']} {row['unit']}: {row['times']} x "
                  f"(written out {row['times_written_out']}), of {row['target']}; of it packing: "
                  f"{row['times_of_packing']} x")  # fmt: skip
        curves = loss_curves(setting)
        share = utilisation(setting, setting.packs["III"])
        os.chdir(home)
    for name, row in curves.items():
        print(f"{name}: losses of {row['steps']} steps at {row['learning_rate']:g} from {row['first']} to "
              f"{row['last']}, differing by at most {row['difference']:.2e} (limit {CURVE_LIMIT:g}); "
              f"Trainer from itself: {row['peer_from_itself']:.2e}")  # fmt: skip
    print(f"utilisation in stage III: {share:.1%} of the measured product rate")
    worst = min(rows, key=lambda row: row["times"] / row["target"])
    print(
        json.dumps(
            {
                "name": "training_vs_peers", "ratio": worst["times"], "target": worst["target"],
                "ratio_written_out": worst["times_written_out"],
                "ratio_of": worst["name"], "size": chosen.size, "peer": "transformers.Trainer, padded",
                "figures": rows, "loss_difference_target": CURVE_LIMIT, "loss_curves": curves,
                "loss_difference": max(row["difference"] for name, row in curves.items() if name != OWN_RATE),
                "loss_difference_at_its_own_rate": curves[OWN_RATE]["difference"],
                "utilisation": share,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
