"""The protocol of a number, part by part; two numbers are compared only when every part is the same.

The fingerprint is the hash over the parts' hashes. The parts travel beside it, so that a refusal can name
what differs: "prompt, decoding". The model's weights are no part: they are what is compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.evaluation.answers import VERSION as PARSER_VERSION
from components.tracking.digest import digest_file, digest_json

if TYPE_CHECKING:
    from components.evaluation.exams import Exam

PARTS = ("benchmark version", "split", "prompt", "preprocessing", "decoding", "parser", "judge", "code")
NO_JUDGE = "none: answers are read by the rules of answers.py"
ASKING_FILES = ("engine.py", "sampling.py")
IMPORTED = re.compile(r"^\s*from components\.evaluation\.(\w+) import", re.MULTILINE)
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
    exam: Exam, *, preprocessing: str, max_new_tokens: int, data: str = "", judge: str = NO_JUDGE
) -> Protocol:
    """Hash all that decides a score but the model's weights.

    Args:
        exam: the benchmark and the items asked.
        preprocessing: `preprocessing_hash` of the checkpoint.
        max_new_tokens: the longest answer.
        data: hash of what the items were read from (pictures, published files), "" when the items say it all.
        judge: name, version and prompt of a judging model.
    """
    benchmark = exam.benchmark
    asked = sorted([i.item_id, i.gold, i.reference, [*i.record_ids], [*i.options]] for i in exam.items)
    blind = {name: list(ids) for name, ids in exam.blind.items()}
    contents: dict[str, Any] = {
        "benchmark version": [benchmark.name, benchmark.version],
        "split": {"items": asked, "blind": blind, "data": data},
        "prompt": sorted([item.item_id, benchmark.prompt(item)] for item in exam.items),
        "preprocessing": preprocessing,
        "decoding": {"answering": benchmark.answering, "greedy": True, "max_new_tokens": max_new_tokens},
        "parser": PARSER_VERSION,
        "judge": judge,
        "code": {path.name: digest_file(path) for path in scoring_code(Path(benchmark.file))},
    }
    return Protocol({name: digest_json(contents[name]) for name in PARTS})


def scoring_code(benchmark: Path) -> list[Path]:
    """Return the benchmark's file and every module of this room that it or the asking comes to import."""
    room = Path(__file__).parent
    waiting, found = [benchmark, *(room / name for name in ASKING_FILES)], set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            names = IMPORTED.findall(path.read_text(encoding="utf-8"))
            waiting += [room / f"{name}.py" for name in names if (room / f"{name}.py").is_file()]
    return sorted(found)


def preprocessing_hash(model: Path) -> str:
    """Hash a checkpoint's image processor, chat template and tokenizer."""
    files = [model / name for name in PREPROCESSING_FILES if (model / name).is_file()]
    return digest_json({file.name: digest_file(file) for file in files})


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
