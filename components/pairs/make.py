"""The stage "pair": records without their image bytes become image-text pairs, each read back before it is kept.

Two passes over the record shards, by `pair.jobs` processes, a piece of the corpus each (`pieces.py`): the first
looks around (how common each label is), the second writes. Levels of difficulty take one look more, hard negatives
two, balance one. A pair whose text the annotation does not support goes to `rejected.parquet`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from components.data.catalog import CARDS, load_cards
from components.data.pictures_elsewhere import say_withheld, withheld_sources
from components.data.terms import allowed_cards, check_third_party, may_reach_third_party
from components.data.tombstones import TOMBSTONES, Withdrawn, load_withdrawn
from components.pairs.difficulty import look_further
from components.pairs.generate import PairGenerator, TemplateGenerator
from components.pairs.pieces import (
    PIECE_RECORDS,
    Machines,
    Making,
    Spans,
    Tally,
    count_piece,
    look_at_piece,
    make_piece,
    needed_by,
    write_pieces,
)
from components.pairs.rejected import RejectedWriter
from components.pairs.reply_cache import forget_replies
from components.pairs.surroundings import Surroundings, together
from components.pairs.withdrawal import told
from components.records import pair_schema
from components.settings import Augmentation, Choices, Settings
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import ShardWriter, spans_below

PIECES = ".pieces"  # below the output while it is made
HERE = Machines()  # one process


def run_pair(settings: Settings) -> None:
    """Run the stage: artifacts/records -> artifacts/pairs.

    Raises:
        DataError: there are no record shards, or the language model does not answer.
        TermsDenied: the texts would come from somebody else's model, and a source does not allow that.
    """
    from components.pairs.preview import write_preview

    root, options = settings.work_root, settings.pair
    is_written = options.generator == "language_model"
    withdrawn = load_withdrawn()
    tombstones = [TOMBSTONES] if TOMBSTONES.is_file() else []
    inputs = [root / "records", *tombstones, *([CARDS] if is_written else [])]
    sections = ["pair", "check.max_text", "seed"]
    with open_stage("pair", settings, output=root / "pairs", inputs=inputs, sections=sections) as work:
        if forgotten := forget_replies(Path(options.language_model.cache), withdrawn):
            print(f"removed {forgotten} replies about withdrawn data, or that do not say whose they are")
        generator = open_generator(settings)
        tally = write_pairs(
            root / "records", work.scratch, generator, kinds=options.kinds,
            shard_bytes=options.shard_megabytes << 20, workers=options.language_model.workers if is_written else 1,
            with_images=is_written and options.language_model.sends_image, augmentation=options.augmentation,
            max_text=settings.check.max_text, withdrawn=withdrawn, choices=options.choices,
            machines=HERE if is_written else Machines(options.jobs, options.backend, options.address),
        )  # fmt: skip
        _count(work, tally)
        _count_usage(work, generator)
        with TemporaryDirectory() as folder:
            withheld = _withheld(work)
            page = write_preview(root / "records", work.scratch, Path(folder) / "pairs.html", without=withheld)
            work.run.log_artifact(page)
            say_withheld(work.run, withheld)
        _print(tally)


def _withheld(work: StageWork) -> frozenset[str]:
    """Name the sources whose pictures may not go into the run; cards are read only when some might not."""
    if work.run.keeps_here:
        return frozenset()
    return withheld_sources(work.run, load_cards(names=work.settings.corpus.sources))


def open_generator(settings: Settings) -> PairGenerator:
    """Return the generator that the settings name.

    Raises:
        TermsDenied: it is somebody else's model and a source of the corpus may not reach it; nothing is sent.
    """
    options = settings.pair
    templates = TemplateGenerator(
        seed=settings.seed, chinese_share=options.chinese_share, max_questions=options.max_questions,
        max_regions=options.max_regions, writes=options.written,
    )  # fmt: skip
    if options.generator == "templates":
        return templates
    from components.pairs.language_model import LanguageModelGenerator, open_language_model

    cards, _ = allowed_cards(load_cards(names=settings.corpus.sources), settings.corpus.allow_noncommercial)
    writer = options.language_model
    model = open_language_model(writer)
    if model.is_third_party and options.denied_sources == "raise":
        check_third_party(cards)
    allowed = {card.name: may_reach_third_party(card) for card in cards}
    return LanguageModelGenerator(model, templates, allowed=allowed, options=writer)


def _count(work: StageWork, tally: Tally) -> None:
    kept = sum(tally.kept.get("kind", Counter()).values())
    work.count(read=kept + sum(tally.reasons.values()), kept=kept, rejected=tally.reasons)
    work.details |= tally.details() | {"faithfulness": tally.faithfulness.scores()}
    work.details |= {"records_withdrawn": dict(sorted(tally.withdrawn.items()))} if tally.withdrawn else {}


def _count_usage(work: StageWork, generator: PairGenerator) -> None:
    """Put tokens and cost into the manifest, and what was asked just now, which is volatile, into the run."""
    from components.pairs.language_model import LanguageModelGenerator

    if isinstance(generator, LanguageModelGenerator):
        work.details["language_model"] = generator.bill()
        work.run.log_metrics(generator.traffic())


def write_pairs(
    records: Path, output: Path, generator: PairGenerator, *, kinds: Sequence[str], shard_bytes: int,
    workers: int = 1, with_images: bool = False, augmentation: Augmentation | None = None,
    max_text: int | None = None, withdrawn: Withdrawn | None = None, choices: Choices | None = None,
    machines: Machines = HERE,
) -> Tally:  # fmt: skip
    """Make, verify and write the pairs of all records below a folder; return what was counted.

    With several `workers` a few records wait for their generator at once; with several `machines` pieces of the
    corpus are made side by side. The order of pairs stays. A pair that answers in more than `max_text` characters
    is refused by itself: the check over all pairs would stop the run.
    """
    making = Making(
        generator, tuple(kinds), augmentation=augmentation or Augmentation(), max_text=max_text,
        withdrawn=withdrawn or Withdrawn(), threads=workers, with_images=with_images,
    )  # fmt: skip
    pieces = spans_below(records, rows=PIECE_RECORDS)
    tally = Tally()
    surroundings = _surroundings(pieces, making, machines, tally.withdrawn)
    look_further(lambda: (r for spans in pieces for r in making.records(spans)), surroundings,
                 choices or Choices())  # fmt: skip
    if making.augmentation.balance:
        making = replace(making, counts=_counts(pieces, making, machines, surroundings))
    aside = output / PIECES
    rows = ((spans, making, needed_by(spans, surroundings), aside / str(n)) for n, spans in enumerate(pieces))
    made = machines.map(make_piece, rows, number=len(pieces))
    with ShardWriter(output, pair_schema(), shard_bytes=shard_bytes) as kept, RejectedWriter(output) as refused:
        for counted in _with_progress(write_pieces(made, aside, kept, refused), len(pieces)):
            tally.join(counted)
    shutil.rmtree(aside, ignore_errors=True)
    return tally


def _surroundings(
    pieces: Sequence[Spans], making: Making, machines: Machines, gone: Counter[str]
) -> dict[str, Surroundings]:
    """Look at every piece, and join what they say; `gone` counts the withdrawn records."""

    def parts() -> Iterator[dict[str, Surroundings]]:
        rows = ((spans, making) for spans in pieces)
        for _, (part, withdrawn) in machines.map(look_at_piece, rows, number=len(pieces)):
            gone.update(withdrawn)
            yield part

    return together(parts())


def _counts(
    pieces: Sequence[Spans], making: Making, machines: Machines, surroundings: Mapping[str, Surroundings]
) -> Counter[str]:
    rows = ((spans, making, needed_by(spans, surroundings)) for spans in pieces)
    return sum((counts for _, counts in machines.map(count_piece, rows, number=len(pieces))), Counter[str]())


def _with_progress(made: Iterable[Tally], total: int) -> Iterable[Tally]:
    from rich.progress import track

    return track(made, description="pairs", total=total, transient=True)


def _print(tally: Tally) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Pairs kept", title_justify="left")
    table.add_column("by"), table.add_column("pairs", overflow="fold")
    for column, counts in tally.details().items():
        table.add_row(column, "  ".join(f"{name} {count:,}" for name, count in counts.items()))
    if tally.reasons:
        table.add_row("refused", "  ".join(f"{name} {count:,}" for name, count in sorted(tally.reasons.items())))
    Console().print(table)
    if tally.withdrawn:
        print(told(tally.withdrawn))
