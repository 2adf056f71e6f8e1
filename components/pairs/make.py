"""The stage "pair": records without their image bytes become image-text pairs, each read back before it is kept.

Two passes over the record shards, one row group in memory at a time: the first looks around (how common each
label is), the second writes. Levels of difficulty take one look more, hard negatives
two. A pair whose text the annotation does not support goes to `rejected.parquet`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from components.data.catalog import CARDS, load_cards
from components.data.pictures_elsewhere import say_withheld, withheld_sources
from components.data.terms import allowed_cards, check_third_party, may_reach_third_party
from components.pairs.augment import count_types
from components.pairs.difficulty import look_further
from components.pairs.generate import PairGenerator, TemplateGenerator
from components.pairs.making import Making
from components.pairs.reading import Reading
from components.pairs.rejected import RejectedWriter, pair_row
from components.pairs.reply_cache import forget_replies
from components.pairs.side_by_side import Crew, MadePart, in_threads, make_parts
from components.pairs.surroundings import look_around
from components.pairs.tally import Tally
from components.pairs.withdrawal import TOMBSTONES, load_withdrawn, told
from components.records import Record, pair_schema
from components.settings import Choices, PairMaking, Settings
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import ShardWriter, count_rows, shards_below


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
        making = Making(generator, options.kinds, options.augmentation, settings.check.max_text)
        reading = Reading(root / "records", withdrawn)
        tally = write_pairs(
            reading, work.scratch, making, shard_bytes=options.shard_megabytes << 20, crew=crew_of(options),
            choices=options.choices,
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


def crew_of(options: PairMaking) -> Crew:
    """Return who works: processes render templates; a language model is waited for in threads."""
    if options.generator == "templates":
        return Crew(jobs=options.jobs, backend=options.backend, address=options.address)
    writer = options.language_model
    return Crew(threads=writer.workers, sees_images=writer.sends_image)


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
    reading: Reading, output: Path, making: Making, *, shard_bytes: int, crew: Crew | None = None,
    choices: Choices | None = None,
) -> Tally:  # fmt: skip
    """Make, verify and write the pairs of all records below a folder; return what was counted.

    However many work at once, the pairs, their order and the files' bytes are the same.
    """
    tally, crew = Tally(), crew or Crew()
    surroundings = look_around(reading.records(tally.withdrawn))
    look_further(lambda: reading.records(Counter()), surroundings, choices or Choices())
    reading = replace(reading, with_images=crew.sees_images)
    total = sum(count_rows(path) for path in shards_below(reading.folder))
    with ShardWriter(output, pair_schema(), shard_bytes=shard_bytes) as kept, RejectedWriter(output) as refused:
        if crew.jobs > 1:
            _write_parts(make_parts(reading, making, surroundings, crew), kept, refused, tally=tally, total=total)
            return tally
        if making.counts_first:
            plain = (pair for record in reading.records(Counter()) for pair in making.plain(record, surroundings))
            making = replace(making, counts=count_types(plain))
        chosen = _with_progress(reading.records(Counter()), total)
        made = in_threads(lambda record: making.pairs_of(record, surroundings), chosen, crew.threads)
        for pair in (pair for some in made for pair in some):
            tally.add(pair)
            (refused if pair.rejected_reason else kept).write(pair_row(pair))
    return tally


def _write_parts(
    parts: Iterable[MadePart], kept: ShardWriter, refused: RejectedWriter, *, tally: Tally, total: int
) -> None:
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task("pairs", total=total)
        for part in parts:
            kept.write_table(part.kept)
            for row in part.refused:
                refused.write(row)
            tally.join(part.tally)
            progress.update(task, advance=part.rows)


def _with_progress(records: Iterable[Record], total: int) -> Iterable[Record]:
    from rich.progress import track

    return track(records, description="pairs", total=total, transient=True)


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
