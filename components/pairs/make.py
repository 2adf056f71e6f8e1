"""The stage "pair": records without their image bytes become image-text pairs, each read back before it is kept.

Two passes over the record shards, one row group in memory at a time: the first looks around (how common each
label is), the second writes. Levels of difficulty take one look more, hard negatives
two. A pair whose text the annotation does not support goes to `rejected.parquet`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.data.catalog import CARDS, load_cards
from components.data.pictures_elsewhere import say_withheld, withheld_sources
from components.data.terms import allowed_cards, check_third_party, may_reach_third_party
from components.pairs.augment import Augmenter, balanced_shares, count_types, is_off
from components.pairs.difficulty import look_further
from components.pairs.faithfulness import Faithfulness
from components.pairs.generate import PairGenerator, TemplateGenerator
from components.pairs.parse_back import Known, contradictions, is_told, known_of
from components.pairs.rejected import RejectedWriter, pair_row
from components.pairs.reply_cache import forget_replies
from components.pairs.surroundings import Partner, Surroundings, look_around
from components.pairs.withdrawal import TOMBSTONES, Withdrawn, load_withdrawn, present_records, told
from components.records import Pair, Record, pair_schema, record_from_row
from components.settings import Augmentation, Choices, Settings
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import ShardWriter, count_rows, iterate_rows, shards_below

REGION_COLUMNS = ("label", "box.list.element", "side", "area_fraction", "area_mm2")
UNREAD_COLUMNS = ("image", "regions")
RECORDS_A_WORKER = 8
Make = Callable[[Record], list[Pair]]


@dataclass
class Tally:
    """Pairs by each column worth a table, and the reasons of the refused ones."""

    kept: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    withdrawn: Counter[str] = field(default_factory=Counter)  # records, by reason
    faithfulness: Faithfulness = field(default_factory=Faithfulness)

    def add(self, pair: Pair) -> None:
        """Count a pair; a refused one by its first reason alone."""
        self.faithfulness.add(pair)
        if pair.rejected_reason:
            self.reasons[pair.rejected_reason] += 1
            return
        for column in ("kind", "language", "source", "question_type", "modality", "split"):
            self.kept.setdefault(column, Counter())[getattr(pair, column)] += 1

    def details(self) -> dict[str, dict[str, int]]:
        """Return the counts as plain, sorted mappings."""
        return {column: dict(sorted(counts.items())) for column, counts in sorted(self.kept.items())}


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
) -> Tally:  # fmt: skip
    """Make, verify and write the pairs of all records below a folder; return what was counted.

    With several `workers` a few records wait for their generator at once; the order of pairs stays. A pair that
    answers in more than `max_text` characters is refused by itself: the check over all pairs would stop the run.
    """
    tally = Tally()

    def read(count: Counter[str], *, with_images: bool = False) -> Iterator[Record]:
        return present_records(read_records(records, with_images=with_images), withdrawn or Withdrawn(), count)

    surroundings = look_around(read(tally.withdrawn))
    look_further(lambda: read(Counter()), surroundings, choices or Choices())
    total = sum(count_rows(path) for path in shards_below(records))
    with ShardWriter(output, pair_schema(), shard_bytes=shard_bytes) as kept, RejectedWriter(output) as refused:
        chosen = _with_progress(read(Counter(), with_images=with_images), total)

        def make_plain(record: Record) -> list[Pair]:
            return list(verified(record, generator, around=surroundings[record.source], kinds=kinds))

        make: Make = make_plain
        if augmentation is not None and not is_off(augmentation):
            again = read(Counter(), with_images=with_images) if augmentation.balance else iter(())
            counts = count_types(pair for record in again for pair in make(record))
            make = _varied(make, generator, surroundings, augmentation, kinds=kinds, counts=counts)
        made = (pair for some in _side_by_side(make, chosen, workers) for pair in some)
        for pair in (within(pair, max_text) for pair in made):
            tally.add(pair)
            (refused if pair.rejected_reason else kept).write(pair_row(pair))
    return tally


def within(pair: Pair, max_text: int | None) -> Pair:
    """Return the pair, refused as `text_too_long` when an assistant's turn has more characters than that."""
    longest = max((len(turn.value) for turn in pair.conversations if turn.speaker == "gpt"), default=0)
    if max_text is None or longest <= max_text or pair.rejected_reason:
        return pair
    return replace(pair, rejected_reason="text_too_long")


def _varied(
    make: Make, generator: PairGenerator, surroundings: Mapping[str, Surroundings], options: Augmentation, *,
    kinds: Sequence[str], counts: Counter[str],
) -> Make:  # fmt: skip
    """Return a maker whose pairs are varied; what is added is made by templates and read back too."""
    templates: Any = getattr(generator, "templates", generator)

    def again(record: Record, other: TemplateGenerator, wanted: Sequence[str]) -> Iterator[Pair]:
        return verified(record, other, around=surroundings[record.source], kinds=wanted)

    shares = balanced_shares(counts, balance=options.balance)
    augmenter = Augmenter(options, templates, again, shares)
    return lambda record: augmenter.vary(make(record), record, kinds=kinds)


def _side_by_side(make: Make, records: Iterable[Record], workers: int) -> Iterator[list[Pair]]:
    """Yield each record's pairs in the records' order, a few records in work at a time."""
    if workers == 1:
        yield from map(make, records)
        return
    waiting = iter(records)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(waiting, RECORDS_A_WORKER * workers)):
            yield from pool.map(make, batch)


def verified(
    record: Record, generator: PairGenerator, *, around: Surroundings, kinds: Sequence[str]
) -> Iterator[Pair]:
    """Yield a record's pairs, the ones that contradict the annotation with their first reason.

    A pair that its generator refused already passes as it is.
    """
    known = known_of(record)
    partners = {partner.record_id: partner for partner in around.partners_of(record)}
    for pair in generator.generate(record, around=around, kinds=kinds):
        if pair.rejected_reason:
            yield pair
            continue
        images = (
            [known]
            if is_told(pair)
            else [
                known if record_id == record.record_id else _known_partner(partners.get(record_id), known)
                for record_id in pair.record_ids
            ]
        )
        reasons = contradictions(pair, images)
        yield replace(pair, rejected_reason=reasons[0]) if reasons else pair


def _known_partner(partner: Partner | None, known: Known) -> Known:
    """What is known of the second image; of a pair that the source itself compares, only the modality."""
    if partner is None:
        return Known(known.modality)
    return Known(
        known.modality, present=frozenset(partner.present), absent=frozenset(partner.absent),
        counts=dict(partner.counts),
    )  # fmt: skip


def read_records(folder: Path, *, with_images: bool = False) -> Iterator[Record]:
    """Yield the records that were not refused, without masks and, unless asked for, without image bytes."""
    for row in iterate_rows(folder, columns=_columns() + (["image"] if with_images else [])):
        record = record_from_row(row)
        if not record.rejected_reason:
            yield record


def _columns() -> list[str]:
    import dataclasses

    plain = [f.name for f in dataclasses.fields(Record) if f.name not in UNREAD_COLUMNS]
    return plain + [f"regions.list.element.{name}" for name in REGION_COLUMNS]


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
