"""The pack stage: curated pairs become token packs, one set a mixture, beside one store of resized images.

Output: `start/` (config, tokenizer, processor that every stage begins with), `images/` (pixels.npy, N x S x S
x 3 uint8, memory-mapped by training, and index.parquet: where each record lies and the words it states), and
`<mixture>/<split>/part-*.parquet`. A pair that cannot be packed is counted with its reason; nothing is truncated.
"""

from __future__ import annotations

import io
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
from components.records import Pair, pair_from_row, record_from_row, record_schema, stable_id
from components.settings import Settings, Vision
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import iterate_rows, write_table

PACKED_SPLITS = ("train", "validation")
FEATURES = Path("var/features")  # of frozen towers, by image; emptied when something is withdrawn
RESIZE_BATCH = 64
Rows = Mapping[str, tuple[int, ...]]  # record id -> rows of the image store, several where pictures are cut


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
    sections = ["model", "recipe.mixtures", "seed"]
    with open_stage("pack", settings, output=root / "packs", inputs=inputs, sections=sections) as work:
        processor = _write_start(settings, work.scratch / "start")
        pairs = [pair_from_row(row) for row in iterate_rows(root / "curated")]
        pairs = [pair for pair in pairs if pair.split in PACKED_SPLITS]
        rows = _write_images(
            work.scratch / "images", _images_needed(pairs), root / "records", processor.image_processor,
            settings.model.vision,
        )  # fmt: skip
        encoded = _encode(pairs, processor, settings, work, rows)
        for name, mixture in settings.recipe.mixtures.items():
            for split in PACKED_SPLITS:
                candidates = [pair for pair in pairs if pair.split == split]
                chosen = choose_pairs(candidates, mixture, seed=settings.seed)
                packs = _packs(
                    chosen, encoded, rows, max_length=settings.model.max_length, seed=settings.seed,
                    alone=mixture.packing == "single",
                )  # fmt: skip
                _write_packs(work, name, split, packs, {pair.pair_id: pair.kind for pair in pairs})


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
    parts: list[np.ndarray] = []
    batch: list[Any] = []
    stored = 0
    words: list[tuple[str, ...]] = []
    columns = [name for name in record_schema().names if name not in UNREAD]
    for row in track(iterate_rows(records, columns), description="images", transient=True):
        if row["record_id"] not in needed or row["record_id"] in rows:
            continue
        image = Image.open(io.BytesIO(row["image"])).convert("RGB")
        tiles = tiles_of(image, side=vision.image_size, most=vision.max_tiles)
        rows[row["record_id"]] = tuple(range(stored, stored + len(tiles)))
        stored += len(tiles)
        words.append(image_words(record_from_row(row)))
        batch.extend(tiles)
        if len(batch) >= RESIZE_BATCH:
            parts.append(stored_pixels(image_processor, batch))
            batch = []
    if batch:
        parts.append(stored_pixels(image_processor, batch))
    if not parts:  # text alone: a store without rows, of the same shape
        parts.append(stored_pixels(image_processor, [Image.new("RGB", (1, 1))])[:0])
    np.save(folder / "pixels.npy", np.concatenate(parts))
    _write_index(folder, rows, words)
    return rows


def _write_index(folder: Path, rows: Rows, words: Sequence[tuple[str, ...]]) -> None:
    """Write where each record's picture lies whole: its last row, behind the squares it may be cut into."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stated = pa.array([list(found) for found in words], pa.list_(pa.string()))
    whole = [places[-1] for places in rows.values()]
    table = pa.table({"record_id": list(rows), "row": whole, "words": stated})
    pq.write_table(table, folder / "index.parquet")


def _encode(
    pairs: Sequence[Pair], processor: Any, settings: Settings, work: StageWork, rows: Rows
) -> dict[str, EncodedConversation]:
    from rich.progress import track

    from components.model.vision import num_image_tokens

    vision = settings.model.vision
    tokens = num_image_tokens(vision)
    encoded: dict[str, EncodedConversation] = {}
    reasons: Counter[str] = Counter()
    for pair in track(pairs, description="tokens", transient=True):
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
            encoded[pair.pair_id] = conversation
    work.count(read=len(pairs), kept=len(encoded), rejected=reasons)
    return encoded


def num_marks(pair: Pair) -> int:
    """Return how many `<image>` a pair's turns hold; each stands for one of its records."""
    return sum(turn.value.count(IMAGE_TOKEN) for turn in pair.conversations)


def _packs(
    pairs: Sequence[Pair],
    encoded: dict[str, EncodedConversation],
    rows: Rows,
    *,
    max_length: int,
    seed: int,
    alone: bool = False,
) -> Iterator[Pack]:
    segments = list(_segments(pairs, encoded, rows, max_length=max_length))
    order = np.random.default_rng(seed).permutation(len(segments))
    if alone:
        for index in order:
            yield from pack_segments([segments[index]], max_length=max_length)
        return
    yield from pack_segments((segments[index] for index in order), max_length=max_length)


def _segments(
    pairs: Sequence[Pair],
    encoded: dict[str, EncodedConversation],
    rows: Rows,
    *,
    max_length: int,
) -> Iterator[Segment]:
    groups: dict[Any, list[tuple[str, EncodedConversation]]] = defaultdict(list)
    for pair in pairs:
        if pair.pair_id in encoded:
            conversation = encoded[pair.pair_id]
            key = (pair.record_ids, conversation.ids[: conversation.prefix_length])
            # Pairs without an image share no prefix worth sharing, so each stands alone.
            groups[key if pair.record_ids else pair.pair_id].append((pair.pair_id, conversation))
    images_of = {pair.pair_id: [row for record_id in pair.record_ids for row in rows[record_id]] for pair in pairs}
    for key in sorted(groups, key=str):
        yield from make_segments(groups[key], images_of[groups[key][0][0]], max_length=max_length)


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
