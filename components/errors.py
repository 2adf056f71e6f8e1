"""Every error this project raises on purpose, in one tree.

ProjectError
├── DataError            a source, card, record or file is not what it must be
│   ├── CardInvalid          a dataset card does not fit its schema
│   ├── DatasetMissing       a source's files are not on this disk
│   ├── ChecksumMismatch     a file is not the file that was pinned
│   ├── DuplicateDataset     two cards (or readers, or benchmarks) claim one name
│   ├── TooManyRejected      a source lost more rows than its card tolerates
│   └── TermsDenied          the source's terms forbid this use
├── QualityError         a blocking expectation failed
├── ConfigError          the configuration does not fit its schema, or contradicts itself
├── CheckpointError      a checkpoint is missing, partial, altered, or another stage's
├── TrainingError        a stage broke its contract (frozen weight moved, loss not finite)
│   └── Diverged             the loss is not finite, or far above what it was; names the packs
├── BenchmarkError       a benchmark cannot be scored as asked
│   └── BenchmarkMissing its published files are not on this disk
├── TrackingError        the tracking store cannot answer
├── PipelineError        a stage of the graph failed, or the pipeline could not be started
└── PromotionRefused     the gate said no

A message says what is wrong, where (source, file, row) and the command that helps.
"""

from __future__ import annotations

TRY_AGAIN = 75  # exit code of a command that wants to be run again: EX_TEMPFAIL of sysexits.h


class ProjectError(Exception):
    """What went wrong, where, and the command that helps, joined into one readable message."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"  where: {self.where}")
        if self.fix:
            parts.append(f"  try:   {self.fix}")
        return "\n".join(parts)


class DataError(ProjectError):
    """A source, card, record or file is not what it must be."""


class CardInvalid(DataError):
    """A dataset card does not fit its schema."""


class DatasetMissing(DataError):
    """A source's files are not on this disk."""


class ChecksumMismatch(DataError):
    """A file is not the file that was pinned."""


class DuplicateDataset(DataError):
    """Two cards, readers or benchmarks claim one name."""


class TooManyRejected(DataError):
    """A source lost more rows than its card tolerates."""


class TermsDenied(DataError):
    """The source's terms forbid this use."""


class QualityError(ProjectError):
    """A blocking expectation failed."""


class ConfigError(ProjectError):
    """The configuration does not fit its schema, or contradicts itself."""


class CheckpointError(ProjectError):
    """A checkpoint is missing, partial, altered, or another stage's."""


class TrainingError(ProjectError):
    """A training stage broke its contract."""


class Diverged(TrainingError):
    """The loss is not finite, or far above what it was; `packs` are those of the micro-batch."""

    def __init__(self, what: str, *, where: str, fix: str, packs: tuple[str, ...]) -> None:
        self.packs = packs
        super().__init__(what, where=where, fix=fix)


class BenchmarkError(ProjectError):
    """A benchmark cannot be scored as asked."""


class BenchmarkMissing(BenchmarkError):
    """A benchmark's published files are not on this disk."""


class TrackingError(ProjectError):
    """The tracking store cannot answer."""


class PipelineError(ProjectError):
    """A stage of the graph failed, or the pipeline could not be started."""


class PromotionRefused(ProjectError):
    """The gate said no; the verdict's reasons are in the message."""
