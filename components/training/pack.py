"""The pack stage: curated pairs become token packs, one set a mixture, beside one store of resized images.

Output: `start/` (config, tokenizer, processor that every stage begins with), `images/` (pixels.npy, N x S x S
x 3 uint8, memory-mapped by training, and index.parquet: where each record lies and the words it states), and
`<mixture>/<split>/part-*.parquet`. A pair that cannot be packed is counted with its reason; nothing is truncated.
Pixels go to their file a batch at a time, and tokens wait on disk (`spool.py`); memory holds the ids of pairs.
"""

from __future__ import annotations

import io
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.data.tombstones import load_withdrawn, sweep
from components.model.chat import IMAGE_TOKEN, EncodedConversation, encode_conversation
from components.model.packing import Pack, Segment, make_segments, pack_segments
from components.model.tiles import tiles_of, tokens_of
from components.pairs.image_words import UNREAD, image_words
from components.pairs.mixture import check_sources, choose_pairs
from components.records import Generator, Pair, pair_from_row, record_from_row, record_schema, stable_id
from components.settings import Settings, Vision
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import iterate_rows, write_table
from components.training.spool import ConversationSpool, PixelFile, SegmentSpool

PACKED_SPLITS = ("train", "validation")
FEATURES = Path("var/features")  # of frozen towers, by image; emptied when something is withdrawn
RESIZE_BATCH = 64
DECIDE_PACKS = ("model", "recipe.mixtures", "seed")  # sections of the settings
Rows = Mapping[str, tuple[int, ...]]  # record id -> rows of the image store, several where pictures are cut
Encoded = Mapping[str, EncodedConversation]
GroupKey = str | tuple[tuple[str, ...], tuple[int, ...]]  # a pair without an image, or (record ids, prefix)
NO_GENERATOR = Generator("", "", "", "", 0)


def pack_schema() -> Any:
    """Return the Arrow schema of packs."""
    import pyarrow as pa

    return pa.schema(
        [
            ("pack_id", pa.string()), ("pair_ids", pa.list_(pa.string())), ("images", pa.list_(pa.int32())),
            ("ids", pa.list_(pa.int32())), ("positions", pa.list_(pa.int32())),
            ("branches", pa.list_(pa.int16())), ("supervised", pa.list_(pa.bool_())),
            ("segments", pa.list_(pa.int16())), ("kinds", pa.list_(pa.string())),
        ]
    )  # fmt: skip


def run_pack(settings: Settings) -> None:
    """Run the pack stage; ConfigError when a mixture names a source that has no card."""
    check_sources(settings.recipe)
    sweep(FEATURES, load_withdrawn())
    root = settings.work_root
    inputs = [root / "records", root / "curated", root / "checked"]
    with open_stage("pack", settings, output=root / "packs", inputs=inputs, sections=DECIDE_PACKS) as work:
        processor = _write_start(settings, work.scratch / "start")
        pairs = [without_words(pair) for pair in _packed_pairs(root / "curated")]
        rows = _write_images(
            work.scratch / "images", _images_needed(pairs), root / "records", processor.image_processor,
            settings.model.vision,
        )  # fmt: skip
        encoded = _encode(_packed_pairs(root / "curated"), processor, settings, work, rows)
        kinds = {pair.pair_id: pair.kind for pair in pairs}
        for name, mixture in settings.recipe.mixtures.items():
            for split in PACKED_SPLITS:
                candidates = [pair for pair in pairs if pair.split == split]
                chosen = choose_pairs(candidates, mixture, seed=settings.seed)
                packs = _packs(
                    chosen, encoded, rows, max_length=settings.model.max_length, seed=settings.seed,
                    alone=mixture.packing == "single", scratch=work.scratch,
                )  # fmt: skip
                _write_packs(work, name, split, packs, kinds)


def _packed_pairs(curated: Path) -> Iterator[Pair]:
    pairs = (pair_from_row(row) for row in iterate_rows(curated))
    return (pair for pair in pairs if pair.split in PACKED_SPLITS)


def without_words(pair: Pair) -> Pair:
    """Return what choosing and grouping look at: ids and vocabulary, each text of them in memory once."""
    kept = {name: sys.intern(getattr(pair, name)) for name in ("source", "kind", "language", "split")}
    empty = dict.fromkeys(("modality", "department", "task", "patient_key", "licence"), "")
    records = tuple(sys.intern(record_id) for record_id in pair.record_ids)
    return Pair(
        pair_id=pair.pair_id, record_ids=records, conversations=(), generator=NO_GENERATOR, **kept, **empty
    )  # fmt: skip


def _write_start(settings: Settings, folder: Path) -> Any:
    from components.model.vlm import make_config, make_processor

    processor = make_processor(settings.model, settings.packages_root)
    tokenizer = processor.tokenizer
    make_config(
        settings.model,
        settings.packages_root,
        vocabulary=len(tokenizer),
        image_token=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
    ).save_pretrained(folder)
    processor.save_pretrained(folder)
    return processor


def _images_needed(pairs: Iterable[Pair]) -> set[str]:
    return {record_id for pair in pairs for record_id in pair.record_ids}


def _write_images(folder: Path, needed: set[str], records: Path, image_processor: Any, vision: Vision) -> Rows:
    from PIL import Image
    from rich.progress import track

    from components.model.vision import stored_pixels

    folder.mkdir(parents=True)
    rows: dict[str, tuple[int, ...]] = {}
    words: list[tuple[str, ...]] = []
    columns = [name for name in record_schema().names if name not in UNREAD]

    def pictures() -> Iterator[Any]:
        stored = 0
        for row in track(iterate_rows(records, columns), description="images", transient=True):
            if row["record_id"] not in needed or row["record_id"] in rows:
                continue
            image = Image.open(io.BytesIO(row["image"])).convert("RGB")
            tiles = tiles_of(image, side=vision.image_size, most=vision.max_tiles)
            rows[row["record_id"]] = tuple(range(stored, stored + len(tiles)))
            stored += len(tiles)
            words.append(tuple(map(sys.intern, image_words(record_from_row(row)))))
            yield tiles

    with PixelFile(folder / "pixels.npy") as pixels:
        for batch in _batches(pictures()):
            pixels.add(stored_pixels(image_processor, batch))
        if not pixels.num_rows:  # text alone: a store without rows, of the same shape
            pixels.add(stored_pixels(image_processor, [Image.new("RGB", (1, 1))])[:0])
    _write_index(folder, rows, words)
    return rows


def _batches(pictures: Iterable[list[Any]]) -> Iterator[list[Any]]:
    """Join the squares of whole pictures until there are enough to be resized together."""
    batch: list[Any] = []
    for tiles in pictures:
        batch.extend(tiles)
        if len(batch) >= RESIZE_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _write_index(folder: Path, rows: Rows, words: Sequence[tuple[str, ...]]) -> None:
    """Write where each record's picture lies whole: its last row, behind the squares it may be cut into."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stated = pa.array([list(found) for found in words], pa.list_(pa.string()))
    whole = [places[-1] for places in rows.values()]
    table = pa.table({"record_id": list(rows), "row": whole, "words": stated})
    pq.write_table(table, folder / "index.parquet")


def _encode(pairs: Iterable[Pair], processor: Any, settings: Settings, work: StageWork, rows: Rows) -> Encoded:
    from rich.progress import track

    from components.model.vision import num_image_tokens

    vision = settings.model.vision
    tokens = num_image_tokens(vision)
    encoded, read = ConversationSpool(work.scratch), 0
    reasons: Counter[str] = Counter()
    for pair in track(pairs, description="tokens", transient=True):
        read += 1
        if vision.max_tiles > 1 and num_marks(pair) != len(pair.record_ids):
            reasons["image_marks_differ"] += 1
            continue
        tiles = [len(rows[record_id]) for record_id in pair.record_ids] if vision.max_tiles > 1 else []
        taken = tokens_of(tiles, image_tokens=tokens) if vision.max_tiles > 1 else tokens
        conversation = encode_conversation(processor.tokenizer, pair.conversations, image_tokens=taken)
        if len(conversation.ids) > settings.model.max_length:
            reasons["longer_than_pack"] += 1
        elif not any(conversation.supervised):
            reasons["nothing_supervised"] += 1
        else:
            encoded.add(pair.pair_id, conversation)
    work.count(read=read, kept=len(encoded), rejected=reasons)
    return encoded


def num_marks(pair: Pair) -> int:
    """Return how many `<image>` a pair's turns hold; each stands for one of its records."""
    return sum(turn.value.count(IMAGE_TOKEN) for turn in pair.conversations)


def _packs(
    pairs: Sequence[Pair],
    encoded: Encoded,
    rows: Rows,
    *,
    max_length: int,
    seed: int,
    scratch: Path | None = None,
    alone: bool = False,
) -> Iterator[Pack]:
    with SegmentSpool(scratch) as segments:
        for segment in _segments(pairs, encoded, rows, max_length=max_length):
            segments.add(segment)
        order = np.random.default_rng(seed).permutation(len(segments))
        if alone:
            for index in order:
                yield from pack_segments([segments[index]], max_length=max_length)
            return
        yield from pack_segments((segments[index] for index in order), max_length=max_length)


def _segments(
    pairs: Sequence[Pair],
    encoded: Encoded,
    rows: Rows,
    *,
    max_length: int,
) -> Iterator[Segment]:
    groups: dict[GroupKey, list[str]] = defaultdict(list)
    prefixes: dict[tuple[int, ...], tuple[int, ...]] = {}  # few, and each in memory once
    for pair in pairs:
        if pair.pair_id in encoded:
            conversation = encoded[pair.pair_id]
            prefix = conversation.ids[: conversation.prefix_length]
            key = (pair.record_ids, prefixes.setdefault(prefix, prefix))
            # Pairs without an image share no prefix worth sharing, so each stands alone.
            groups[key if pair.record_ids else pair.pair_id].append(pair.pair_id)
    for key in in_order_of_text(groups):
        records = () if isinstance(key, str) else key[0]
        images = [row for record_id in records for row in rows[record_id]]
        yield from make_segments(
            [(pair_id, encoded[pair_id]) for pair_id in groups[key]], images, max_length=max_length
        )


def in_order_of_text(keys: Iterable[GroupKey]) -> list[GroupKey]:
    """Return keys as `sorted(keys, key=str)` does, without each one's whole prefix as text in memory.

    The text of a key of two begins with its record ids, of which none's text goes on where another's ends.
    """
    keys = list(keys)
    prefixes = sorted({key[1] for key in keys if not isinstance(key, str)}, key=str)
    rank = {prefix: number for number, prefix in enumerate(prefixes)}
    return sorted(keys, key=lambda key: (key, 0) if isinstance(key, str) else (f"({key[0]!r}, ", rank[key[1]]))


def _write_packs(work: StageWork, mixture: str, split: str, packs: Iterable[Pack], kinds: dict[str, str]) -> None:
    totals: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        for pack in packs:
            totals.update(
                packs=1, tokens=len(pack), supervised=int(pack.supervised.sum()), pairs=len(pack.pair_ids)
            )
            yield pack_row(pack, kinds)

    write_table(work.scratch / mixture / split, rows(), pack_schema())
    capacity = max(totals["packs"], 1) * work.settings.model.max_length
    work.details[f"{mixture}/{split}"] = {
        **totals,
        "packing_efficiency": round(totals["tokens"] / capacity, 4),
        "supervised_share": round(totals["supervised"] / max(totals["tokens"], 1), 4),
    }
    work.run.log_metrics(packing_metrics(work.details, mixture, split, prefix=f"{mixture}/{split}/"))


def packing_metrics(
    details: Mapping[str, Any], mixture: str, split: str = "train", *, prefix: str = ""
) -> dict[str, float]:
    """Return what a mixture's packs amount to, from a pack stage's details; nothing where they do not say it."""
    facts = details.get(f"{mixture}/{split}", {})
    wanted = ("packs", "packing_efficiency", "supervised_share")
    return {prefix + name: float(facts[name]) for name in wanted if name in facts}


def pack_row(pack: Pack, kinds: dict[str, str]) -> dict[str, Any]:
    """Return a pack as one row of `pack_schema`; `kinds` maps pair id to pair kind."""
    return {
        "pack_id": stable_id("pack", *pack.pair_ids),
        "pair_ids": list(pack.pair_ids),
        "images": list(pack.images),
        "ids": pack.ids.tolist(),
        "positions": pack.positions.tolist(),
        "branches": pack.branches.tolist(),
        "supervised": pack.supervised.tolist(),
        "segments": pack.segments.tolist(),
        "kinds": [kinds[pair_id] for pair_id in pack.pair_ids],
    }
