"""Where a training step's time goes, and what was tried: `python benchmarks/training_profile.py`.

A micro-batch of the preset's packs is trained, first in stage I, then in stage III, under torch.profiler: the CPU
time of each operation in three steps by itself, summed by class, forward and backward together (with attention by
matrix products its share is among those). `ratio` is stage III's operations a second (counted by the forecast,
which a test holds to torch's counter) over the rate of the peer: torch.mm of the step's own matrix shapes, in the
step's precision, each as often as the step has it. Then the same step is timed with each speed switch turned
round: seconds a step, and how many times faster than as conf/ ships it. The feature cache counts from its second
pass on; in stage III the tower learns and nothing is kept. Run it alone on the machine. The last line is JSON;
`docs/measure.py` keeps it and docs/training_speed.md is made of it.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
TARGET = 0.5
PROFILED, PROFILED_STEPS = ("I", "III"), 3
# The first class with a word that is in an operation's name takes it.
CLASSES = {
    "data": ("collate",),
    "optimizer": ("adam", "optimizer", "_foreach", "clip_grad"),
    "attention backward": ("attention_for_cpu_backward", "attention_backward"),
    "attention forward": ("scaled_dot_product", "attention_for_cpu"),
    "softmax and cross-entropy": ("softmax", "gather", "scatter_", "slicedcrossentropy"),
    "matrix products": ("mm", "addmm", "bmm", "linear", "matmul", "convolution", "mkldnn"),
    "normalisation and elementwise": (
        "norm", "mul", "add", "sub", "div", "neg", "silu", "gelu", "sigmoid", "rsqrt", "pow", "mean", "sum", "cat",
        "cos", "sin", "masked", "where", "fill", "zero", "index", "embedding",
    ),
    "casts and copies": ("copy_", "_to_copy", "clone", "contiguous"),
}  # fmt: skip
OTHER = "other"
SWITCHES = {
    "layers written out": {"written_out_layers": "all"},
    "attention by matrix products": {"attention": "matrix_products"},
    "torch.compile": {"compile": True},
    "without the fused optimizer": {"fused_optimizer": False},
    "bucket_lengths": {"bucket_lengths": True},
    "cache_features": {"cache_features": True},
    "activation checkpointing": {"activation_checkpointing": True},
    "logits everywhere": {"supervised_logits": False},
}


def class_of(operation: str) -> str:
    """Name the class of a profiler's operation; what fits none is "other"."""
    name = operation.lower()
    return next((found for found, words in CLASSES.items() if any(word in name for word in words)), OTHER)


def shares(profiled: Any) -> dict[str, float]:
    """Return each class's share of the CPU time that operations took by themselves."""
    sums = dict.fromkeys((*CLASSES, OTHER), 0.0)
    for row in profiled.key_averages():
        sums[class_of(row.key)] += row.self_cpu_time_total
    total = sum(sums.values()) or 1.0
    return {name: round(value / total, 4) for name, value in sums.items()}


def product_shapes(profiled: Any) -> dict[tuple[int, int, int], int]:
    """Return how often a step multiplies (rows, inner) by (inner, columns), batched products one by one."""
    found: defaultdict[tuple[int, int, int], int] = defaultdict(int)
    for row in profiled.key_averages(group_by_input_shape=True):
        shapes = row.input_shapes
        if row.key == "mkldnn::_linear_pointwise":  # rows times a matrix that is laid out, (columns, inner)
            found[prod(shapes[0][:-1]), shapes[0][-1], shapes[1][0]] += row.count
        elif row.key in ("aten::mm", "aten::bmm"):
            found[shapes[0][-2], shapes[0][-1], shapes[1][-1]] += row.count * prod(shapes[0][:-2])
        elif row.key == "aten::addmm":
            found[shapes[1][-2], shapes[1][-1], shapes[2][-1]] += row.count
    return dict(found)


def products_rate(shapes: dict[tuple[int, int, int], int], *, bf16: bool) -> float:
    """Return the operations a second of torch.mm over a step's own shapes, each as often as it is there."""
    import torch

    kind, operations, seconds = (torch.bfloat16 if bf16 else torch.float32), 0.0, 0.0
    for (rows, inner, columns), count in shapes.items():
        left, right = torch.randn(rows, inner, dtype=kind), torch.randn(inner, columns, dtype=kind)
        taken = []
        for _ in range(4):
            started = time.perf_counter()
            left @ right
            taken.append(time.perf_counter() - started)
        operations += count * 2.0 * rows * inner * columns
        seconds += count * min(taken)
    return operations / seconds if seconds else 0.0


class Step:
    """One stage's module and one micro-batch, stepped by hand as Lightning does."""

    def __init__(self, setting: Any, name: str, *, bf16: bool, speed: dict[str, Any], folder: Path) -> None:
        from benchmarks.training.setting import RATE, STAGES
        from components.settings import Speed, Stage
        from components.training.features import FeatureCache
        from components.training.module import StageModule

        micro = setting.micro_batch
        row = Stage(
            trains=STAGES[name], starts_from="-", mixture="-", learning_rate=RATE, schedule="constant",
            warmup_ratio=0.0, weight_decay=0.0, clip=1.0, packs_per_step=micro, epochs=1.0, max_steps=0,
        )  # fmt: skip
        self.bf16, self.items, switches = bf16, setting.packs[name][:micro], Speed(**speed)
        self.collator = copy.copy(setting.collator)
        self.collator.multiple = 64 if switches.bucket_lengths else 1
        self.module = StageModule(copy.deepcopy(setting.vlm), row, name="-", steps=1, log=lambda *_: None,
                                  speed=switches)  # fmt: skip
        if switches.cache_features and "vision" not in row.trains:
            self.module.cache = FeatureCache(
                folder, setting.collator.pixels, recipe={"tower": "of this benchmark"}
            )
            self.module._is_cached = lambda: True
        self.module.write_out("bf16-mixed" if bf16 else "32-true")
        self.optimizer = self.module.configure_optimizers()["optimizer"]

    def __call__(self) -> None:
        """Collate, go forward and back, clip, and step."""
        import torch

        from components.training.module import clip_gradients

        with torch.profiler.record_function("collate"):
            batch = self.collator(self.items)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = self.module.losses_of(batch)[0].mean()
        self.optimizer.zero_grad()
        loss.backward()
        clip_gradients(self.optimizer, 1.0)
        self.optimizer.step()


def seconds_of(step: Step, *, repeats: int) -> float:
    """Return the median seconds of a step after two that warm it."""
    for _ in range(2):
        step()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return median(taken)


def profile(step: Step) -> Any:
    """Return torch.profiler's account of PROFILED_STEPS steps, after one that pays for its start."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    for steps in (1, PROFILED_STEPS):
        with profiler(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
            for _ in range(steps):
                step()
    return found


def flops_of(setting: Any, name: str, items: Sequence[Any]) -> float:
    """Return the operations of a micro-batch by the forecast."""
    from benchmarks.training.setting import STAGES
    from components.training.forecast import PackFacts, pack_flops, shape_of

    shape = shape_of(setting.vlm)
    return sum(
        pack_flops(
            shape, PackFacts(1, len(pack), float(pack.supervised.sum()), len(pack.images)), trains=STAGES[name]
        )
        for _, pack in items
    )


def stage_profile(setting: Any, name: str, *, bf16: bool, repeats: int, folder: Path) -> dict[str, Any]:
    """Return one stage's shares, its utilisation, and what each switch does to it."""
    step = Step(setting, name, bf16=bf16, speed={}, folder=folder)
    seconds = seconds_of(step, repeats=repeats)
    found = profile(step)
    rate = products_rate(product_shapes(found), bf16=bf16)
    flops = flops_of(setting, name, step.items)
    tried = {}
    for switch, speed in SWITCHES.items():
        taken = seconds_of(Step(setting, name, bf16=bf16, speed=speed, folder=folder), repeats=repeats)
        tried[switch] = {"seconds": round(taken, 3), "times": round(seconds / taken, 3)}
    return {
        "seconds": round(seconds, 3),
        "utilisation": round(flops / seconds / rate, 4),
        "gigaflops_a_second": round(flops / seconds / 1e9, 2),
        "products_gigaflops_a_second": round(rate / 1e9, 2),
        "share": shares(found),
        "tried": tried,
    }


def main() -> None:
    """Measure, print, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("tiny", "default"), default="default")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps a figure")
    chosen = parser.parse_args()
    from benchmarks.training.setting import load_setting
    from components.model.machine import prepare_machine
    from components.training.launch import quieten

    quieten()
    prepare_machine(os.cpu_count() or 1)
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        setting = load_setting(chosen.size, Path(folder), 1)
        bf16 = setting.precision != "32-true"
        stages = {
            name: stage_profile(setting, name, bf16=bf16, repeats=chosen.repeats, folder=Path(folder) / name)
            for name in PROFILED
        }
        os.chdir(home)
    for name, row in stages.items():
        print(f"stage {name}: {row['seconds']} s a step, {row['utilisation']:.1%} of its own products' rate")
        for kind, share in row["share"].items():
            print(f"  {kind}: {share:.1%}")
        for switch, tried in row["tried"].items():
            print(f"  {switch}: {tried['times']} times")
    print(json.dumps({
        "name": "training_profile", "peer": "torch.mm of the step's own shapes", "size": chosen.size,
        "ratio": stages["III"]["utilisation"], "target": TARGET, "precision": setting.precision, "stages": stages,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
