"""Text burned into pixels: measured by character recognition on a sample of each source, hits quarantined.

Whether an image is looked at is decided by a hash of its record id, its modality's weight and the settings' share,
so the same files give the same sample. What was found is counted by modality, with the one-sided 95 % upper bound
of the share of images with text (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404); the text itself is
written nowhere. Images outside the sample are not looked at: the bound is what is known of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from components.data.image import decode
from components.data.reading import Rejection
from components.errors import ConfigError
from components.records import Record, stable_id
from components.settings import BurnedInText

REASON = "burned_in_text"
CONFIDENCE = 0.95
LONGEST_SIDE = 384  # pixels; the detector's input, which ingest's default `max_side` fills
Sample = Record | Rejection


class TextReader(Protocol):
    """Reads the text that an image shows; the same pixels give the same lines."""

    @property
    def name(self) -> str:
        """Library and version, for the manifest."""
        ...

    def read(self, pixels: np.ndarray[Any, Any]) -> Sequence[tuple[str, float]]:
        """Return the lines of (H, W, 3) uint8 pixels, each with the recogniser's confidence, 0-1."""
        ...


class RapidReader:
    """PP-OCR detection and recognition by RapidOCR on ONNX Runtime: a CPU, no network, models in the wheel."""

    def __init__(self) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise ConfigError(
                "rapidocr and onnxruntime are not installed", where="ingest.burned_in_text.share",
                fix="pip install -e '.[ocr]', or gmai configure ingest.burned_in_text.share=0",
            ) from error  # fmt: skip
        options = {
            "Global.log_level": "error", "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "Det.limit_side_len": LONGEST_SIDE, "Det.limit_type": "max",
        }  # fmt: skip
        self._engine = RapidOCR(params=options)

    @property
    def name(self) -> str:
        """The library's version, which pins its models."""
        return rapid_name()

    def read(self, pixels: np.ndarray[Any, Any]) -> Sequence[tuple[str, float]]:
        """Return the lines of an image."""
        found: Any = self._engine(pixels, use_cls=False)
        return [(text, float(score)) for text, score in zip(found.txts or (), found.scores or (), strict=True)]


def rapid_name() -> str:
    """Return RapidOCR's name and version, without loading it."""
    from importlib.metadata import version

    return f"rapidocr {version('rapidocr')}"


@dataclass
class Screen:
    """Looks at a sample of one source's images and counts; `looked_at` and `hits` are by modality."""

    options: BurnedInText
    reader: TextReader
    looked_at: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)

    def is_chosen(self, record: Record) -> bool:
        """Tell whether an image is in the sample."""
        share = self.options.share * self.options.weights.get(record.modality, 1.0)
        drawn = int(stable_id(record.record_id, REASON), 16) / float(1 << 80)
        return record.has_pixels and drawn < share

    def shows_text(self, record: Record) -> bool:
        """Look at an image of the sample, and count it."""
        if not self.is_chosen(record):
            return False
        self.looked_at[record.modality] += 1
        found = has_text(self.reader.read(_three_channels(decode(record.image))), self.options)
        self.hits[record.modality] += found
        return found

    def counts(self) -> dict[str, Any]:
        """Return what the source's manifest says."""
        return sample_counts(self.options, self.reader.name, self.looked_at, self.hits)


def sample_counts(
    options: BurnedInText, reader: str, looked_at: Mapping[str, int], hits: Mapping[str, int]
) -> dict[str, Any]:
    """Return what a source's manifest says of the images that a reader looked at, and of those that show text."""
    return rates(looked_at, hits) | {"reader": reader, "share": options.share}


def screen_samples(samples: Iterable[Sample], screen: Screen | None) -> Iterator[Sample]:
    """Pass samples on; an image that shows text, and whatever speaks of it, becomes a Rejection.

    The first image of a pair waits for its second, which a reader yields next. Without a screen all pass.
    """
    if screen is None:
        yield from samples
        return
    refused: set[str] = set()
    waiting: dict[str, Record] = {}
    for sample in samples:
        if isinstance(sample, Rejection):
            yield sample
            continue
        named = sample.compared_with.split()
        if screen.shows_text(sample) or not refused.isdisjoint(named):
            refused.update([sample.record_id, *(named if sample.has_pixels else ())])
        first = waiting.pop(sample.record_id, None)
        if first is not None:
            yield _judged(first, refused, also=sample.record_id)
        if sample.has_pixels and named and sample.record_id not in refused:
            waiting[named[0]] = sample
        else:
            yield _judged(sample, refused, also=first.record_id if first else "")
    yield from waiting.values()


def _judged(record: Record, refused: set[str], *, also: str) -> Sample:
    """Return the record, or its rejection when it or the other image of its pair is refused."""
    return Rejection(record.source_path, REASON) if refused & {record.record_id, also} else record


def has_text(lines: Iterable[tuple[str, float]], options: BurnedInText) -> bool:
    """Tell whether a line is text: enough letters and digits in one piece, read with enough confidence.

    A single letter is what a recogniser sees in a rib or a nucleus.
    """
    return any(
        score >= options.min_confidence and len(re.findall(r"\w", text)) >= options.min_characters
        for text, score in lines
    )


def rates(looked_at: Mapping[str, int], hits: Mapping[str, int]) -> dict[str, Any]:
    """Return counts, rates and upper bounds: of all images looked at, and by modality."""

    def row(hit: int, number: int) -> dict[str, Any]:
        rate = round(hit / number, 6) if number else None
        return {"looked_at": number, "hits": hit, "rate": rate, "upper_bound_95": upper_bound(hit, number)}

    by_modality = {name: row(hits.get(name, 0), number) for name, number in sorted(looked_at.items())}
    return row(sum(hits.values()), sum(looked_at.values())) | {"by_modality": by_modality}


def upper_bound(hits: int, number: int) -> float:
    """Return the one-sided 95 % Clopper-Pearson upper bound of a share, 0-1; 1 when nothing was looked at."""
    from scipy.stats import beta

    return 1.0 if hits >= number else round(float(beta.ppf(CONFIDENCE, hits + 1, number - hits)), 6)


def _three_channels(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels
