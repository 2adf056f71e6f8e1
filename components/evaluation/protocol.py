"""The protocol of a number, part by part; two numbers are compared only when every part is the same.

The fingerprint is the hash over the parts' hashes. The parts travel beside it, so that a refusal can name
what differs: "prompt, decoding". The model's weights are no part: they are what is compared.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.evaluation.answers import VERSION as PARSER_VERSION
from components.tracking.digest import digest_file, digest_json

if TYPE_CHECKING:
    from components.evaluation.exams import Exam

PARTS = ("benchmark version", "split", "prompt", "preprocessing", "decoding", "parser", "judge", "code")
NO_JUDGE = "none: answers are read by the rules of answers.py"
ASKING_FILES = ("answering.py", "engine.py", "exams.py", "processes.py", "sampling.py")
ROOMS = (
    "evaluation",
    "model",
    "quality",
    "pairs",
)  # below them lies what moves and names things, not what is asked
LIBRARIES = ("torch", "transformers", "tokenizers", "pillow")
COMPONENTS = Path(__file__).parents[1]
PREPROCESSING_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "chat_template.jinja",
    "tokenizer.json",
)


@dataclass(frozen=True)
class Protocol:
    """The hash of each part, by name."""

    parts: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """The one hash that a score carries."""
        return digest_json(dict(self.parts))


def make_protocol(
    exam: Exam, *, preprocessing: str, max_new_tokens: int, data: str = "", judge: str = NO_JUDGE,
    arithmetic: Mapping[str, Any] | None = None,
) -> Protocol:  # fmt: skip
    """Hash all that decides a score but the model's weights.

    Args:
        exam: the benchmark and the items asked.
        preprocessing: `preprocessing_hash` of the checkpoint.
        max_new_tokens: the longest answer.
        data: hash of what the items were read from (pictures, published files), "" when the items say it all.
        judge: name, version and prompt of a judging model.
        arithmetic: `arithmetic_of` the run: what rounds the model's numbers, and so turns near ties.
    """
    benchmark = exam.benchmark
    asked = sorted([i.item_id, i.gold, i.reference, [*i.record_ids], [*i.options]] for i in exam.items)
    blind = {name: list(ids) for name, ids in exam.blind.items()}
    contents: dict[str, Any] = {
        "benchmark version": [benchmark.name, benchmark.version],
        "split": {"items": asked, "blind": blind, "data": data},
        "prompt": sorted([item.item_id, benchmark.prompt(item)] for item in exam.items),
        "preprocessing": preprocessing,
        "decoding": {
            "answering": benchmark.answering, "greedy": True, "max_new_tokens": max_new_tokens,
            **(arithmetic or {}),
        },
        "parser": PARSER_VERSION,
        "judge": judge,
        "code": {_named(path): digest_file(path) for path in scoring_code(Path(benchmark.file))},
    }  # fmt: skip
    return Protocol({name: digest_json(contents[name]) for name in PARTS})


def arithmetic_of(device: str, *, batches: tuple[int, int]) -> dict[str, Any]:
    """Return what decides how the model's numbers are rounded: type, kind of device, batches, libraries."""
    return {
        "dtype": "bfloat16", "device": device.partition(":")[0], "batches": list(batches),
        "libraries": {name: version(name) for name in LIBRARIES},
    }  # fmt: skip


def scoring_code(benchmark: Path) -> list[Path]:
    """Return the benchmark's file and every module of the ROOMS that it or the asking comes to import."""
    waiting = [benchmark, *(Path(__file__).with_name(name) for name in ASKING_FILES)]
    found = set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return sorted(found)


def _imported(path: Path) -> list[Path]:
    """Return the files of the ROOMS that a file imports anywhere in it; of a package, the modules it names."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    named = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    places = [place for node in named for place in _places(str(node.module), [alias.name for alias in node.names])]
    return [place for place in places if place.is_file()]


def _places(module: str, names: Iterable[str]) -> list[Path]:
    top, *rest = module.split(".")
    if top != COMPONENTS.name or not rest or rest[0] not in ROOMS:
        return []
    place = COMPONENTS.joinpath(*rest)
    return [place.with_suffix(".py"), place / "__init__.py", *(place / f"{name}.py" for name in names)]


def _named(path: Path) -> str:
    return path.relative_to(COMPONENTS).as_posix() if path.is_relative_to(COMPONENTS) else path.name


def preprocessing_hash(model: Path) -> str:
    """Hash a checkpoint's image processor, chat template and tokenizer, and into how many squares it cuts."""
    files = [model / name for name in PREPROCESSING_FILES if (model / name).is_file()]
    config = model / "config.json"
    cut = json.loads(config.read_text(encoding="utf-8")).get("max_tiles", 1) if config.is_file() else 1
    return digest_json({**{file.name: digest_file(file) for file in files}, "max_tiles": cut})


def differing_parts(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Name the parts that are not the same, in the order of PARTS; a part one side lacks differs."""
    names = [*PARTS, *sorted((ours.keys() | theirs.keys()) - set(PARTS))]
    return [name for name in names if ours.get(name) != theirs.get(name)]


def why_not_comparable(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    *,
    our_parts: Mapping[str, str],
    their_parts: Mapping[str, str],
) -> str:
    """Say why two score rows must not be compared, or "" when their fingerprints are the same.

    Args:
        ours: a row of `scores` in metrics/evaluation.json.
        theirs: the same benchmark's row of another evaluation.
        our_parts: the hashes by part of our row's protocol (empty when an old evaluation kept none).
        their_parts: those of their row.
    """
    if ours["fingerprint"] == theirs["fingerprint"]:
        return ""
    if not our_parts or not their_parts:
        return "another protocol fingerprint (its parts were not kept)"
    return f"another protocol fingerprint: {', '.join(differing_parts(our_parts, their_parts))} differ"


def parts_of(metrics: Mapping[str, Any], benchmark: str) -> dict[str, str]:
    """Return the hashes by part that a metrics file keeps for a benchmark (or a part of it), {} if none."""
    kept = metrics.get("details", {}).get("protocols", {})
    return dict(kept.get(benchmark.split("/", maxsplit=1)[0], {}))


def join_protocols(protocols: Iterable[tuple[str, Protocol]]) -> dict[str, dict[str, str]]:
    """Return {benchmark: {part: hash}} as the metrics file holds it."""
    return {name: dict(protocol.parts) for name, protocol in protocols}
