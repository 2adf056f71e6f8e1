"""Settings of the data: which sources, how they become records, pairs and a checked corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from components.records import Modality
from components.settings.base import Frozen, Positive, Share
from components.settings.pairing import Generating


class Corpus(Frozen):
    """Which sources are read, and under what terms."""

    data_root: Path = Field(description="folder of the raw sources, one folder a source")
    sources: tuple[str, ...] = Field(min_length=1, description="card names in conf/sources")
    allow_noncommercial: bool = Field(description="false drops sources that do not allow commercial use")


class BurnedInText(Frozen):
    """Which images are looked at for text in their pixels; those that show some are not kept.

    Looking takes 0.02-0.1 s an image on one core.
    """

    share: Share = Field(default=0.0, description="share of images looked at; 0 looks at none")
    weights: dict[Modality, float] = Field(
        default_factory=dict, description="modality -> times the share (at most all); 1 where not named"
    )
    min_characters: Positive = Field(default=3, description="letters and digits that make a line text")
    min_confidence: Share = Field(default=0.8, description="of the recogniser, for a line to count")


class Ingest(Frozen):
    """How raw files become records."""

    max_side: Positive = Field(description="longest image side kept, in pixels")
    shard_megabytes: Positive = Field(description="Parquet shard size, in MB")
    jobs: Positive = Field(description="sources read at once")
    backend: Literal["loky", "threading", "sequential", "ray", "dask"]
    address: str = Field(description="of a ray or dask cluster; empty: started on this machine alone")
    burned_in_text: BurnedInText = BurnedInText()
    private: str = Field(
        default="var/private", description="folder of what hidden paths stand for; never an output"
    )


class PairMaking(Generating):
    """How records become image-text pairs."""

    chinese_share: Share = Field(description="share of pairs written in Chinese")
    max_questions: Positive = Field(description="perception questions a record, at most")
    max_regions: Positive = Field(description="region captions a record, at most")
    shard_megabytes: Positive
    kinds: tuple[str, ...] = Field(description="pair kinds to make")
    jobs: Positive = Field(default=1, description="pieces of the corpus made at once; templates alone")
    backend: Literal["loky", "threading", "sequential", "ray", "dask"] = "loky"
    address: str = Field(default="", description="of a ray or dask cluster; empty: started on this machine alone")


class BenchmarkFiles(Frozen):
    """A published benchmark that training data are held against."""

    name: str = Field(min_length=1, description="its card in conf/sources")
    data: str = Field(min_length=1, description="folder of its files, as they are published")


class Curate(Frozen):
    """Which pairs stay."""

    min_side: Positive = Field(description="shorter images are rejected, in pixels")
    max_aspect: float = Field(gt=1, description="longer than this many times its width is rejected")
    min_entropy: float = Field(ge=0, description="bits of grey-level entropy below which an image is blank")
    near_duplicate_bits: int = Field(ge=0, le=32, description="perceptual-hash distance called a duplicate")
    training_duplicate_bits: int | None = Field(
        default=None, ge=0, le=7, description="the same among training images of other studies; null keeps them"
    )
    altered_copies: Literal["list", "refuse"] = Field(
        default="refuse", description="what becomes of training images that are altered copies of held-out ones"
    )
    benchmarks: tuple[BenchmarkFiles, ...] = Field(
        default=(), description="published benchmarks behind the firewall, beside the corpus's own held-out splits"
    )
    index: str = Field(default="var/firewall", description="folder of what is already compared; may be deleted")
    shard_megabytes: Positive


class Check(Frozen):
    """Bounds of the Great Expectations gate."""

    min_text: Positive = Field(description="shortest assistant text, in characters")
    max_text: Positive = Field(description="longest assistant text, in characters")
    max_rejected: Share = Field(description="share of rejected rows above which the gate stops")
    min_pairs: Positive = Field(description="fewer pairs than this stop the pipeline")
    max_drift: float = Field(default=0.25, ge=0, description="stability index above which the gate stops; 0 never")
