"""Pairs to a flat feature table that tabular rules can judge; every row keeps its pair id.

Great Expectations sees columns, not conversations, so each nested thing becomes a number or a truth value
here: placeholders counted, boxes parsed, turns compared. Facts that need the whole corpus (ids seen twice,
patients in two splits, records that exist) are computed once over id columns and joined to each shard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.pairs.columns import keys_of
from components.records import NOT_STATED
from components.tracking.tables import read_table, shards_below

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PLACEHOLDER = "<image>"
BOX_OPEN = "<box>"
BOX_TEXT = re.compile(r"<box>\s*\[(.*?)\]\s*</box>")
BOX_NUMBERS = re.compile(r"\[\s*([^\[\]]*)\]")
PAIR_COLUMNS = (
    "pair_id", "record_ids", "kind", "conversations", "language", "modality", "department", "task",
    "patient_key", "split", "source", "answer", "options", "boxes", "question_type",
)  # fmt: skip
TEXT_COLUMNS = ("pair_id", "kind", "language", "modality", "department", "task", "patient_key", "split", "source")
RECORD_COLUMNS = (
    "record_id", "modality", "body_part", "labels", "absent_labels", "text", "comparison", "facts",
    "regions.list.element.box", "questions.list.element.answer", "compared_with", "width",
)  # fmt: skip
STATED = ("body_part", "labels", "absent_labels", "facts", "regions", "questions", "text", "comparison")


@dataclass(frozen=True)
class CorpusFacts:
    """What only the whole corpus knows: rows a pair id has, splits a patient is in, and the record table.

    All three are indexed by the 64-bit keys of the ids, an eighth of what the ids themselves would take.
    """

    pair_id_count: pd.Series
    patient_splits: pd.Series
    records: pd.DataFrame  # modality, split, num_statements, boxes_valid, shortest_side


def is_valid_box(box: Sequence[float], *, strict: bool = True) -> bool:
    """Say whether (left, top, right, bottom) lies inside 0-1 and is ordered.

    A box written with two decimals may round to no width; `strict=False` lets that pass.
    """
    if len(box) != 4 or not all(0.0 <= value <= 1.0 for value in box):
        return False
    left, top, right, bottom = box
    return (left < right and top < bottom) if strict else (left <= right and top <= bottom)


def are_valid_text_boxes(text: str) -> bool:
    """Say whether every `<box>` in a text parses as [[l, t, r, b], …] and is ordered inside 0-1."""
    found = BOX_TEXT.findall(text)
    if text.count(BOX_OPEN) != len(found):
        return False
    return all(_is_valid_list(inner) for inner in found)


def _is_valid_list(inner: str) -> bool:
    rows = BOX_NUMBERS.findall(inner)
    try:
        boxes = [[float(number) for number in row.split(",")] for row in rows]
    except ValueError:
        return False
    return bool(boxes) and all(is_valid_box(box, strict=False) for box in boxes)


def conversation_features(turns: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Flatten one conversation: placeholders, order of speakers, lengths in characters."""
    texts = [turn["value"] or "" for turn in turns]
    human = [t for t, turn in zip(texts, turns, strict=True) if turn["speaker"] == "human"]
    gpt = [t for t, turn in zip(texts, turns, strict=True) if turn["speaker"] == "gpt"]
    asked = [len(text.replace(PLACEHOLDER, "").strip()) for text in human]
    answered = [len(text.strip()) for text in gpt]
    first = texts[0] if turns and turns[0]["speaker"] == "human" else ""
    speakers = [turn["speaker"] for turn in turns]
    return {
        "num_placeholders": sum(text.count(PLACEHOLDER) for text in texts),
        "num_first_placeholders": first.count(PLACEHOLDER),
        "turns_alternate": bool(turns) and speakers == ["human", "gpt"] * (len(turns) // 2),
        "shortest_question": min(asked, default=-1),
        "shortest_answer": min(answered, default=-1),
        "longest_answer": max(answered, default=-1),
        "text_boxes_valid": all(are_valid_text_boxes(text) for text in texts),
    }


def row_features(row: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten one pair row."""
    options = row["options"] or ()
    return {
        **{name: row[name] or "" for name in TEXT_COLUMNS},
        **conversation_features(row["conversations"] or ()),
        "num_records": len(row["record_ids"] or ()),
        "boxes_valid": all(is_valid_box(box) for box in row["boxes"] or ()),
        "answer_among_options": not options or row["answer"] in options,
    }


def shard_features(shard: pa.Table, facts: CorpusFacts) -> pd.DataFrame:
    """Return one shard's feature table, one row a pair, joined with what the corpus knows."""
    import pandas as pd

    rows = shard.to_pylist()
    frame = pd.DataFrame([row_features(row) for row in rows])
    if frame.empty:
        return frame
    counted = {"pair_id_count": ("pair_id", facts.pair_id_count)}
    counted["patient_splits"] = ("patient_key", facts.patient_splits)
    for name, (column, known) in counted.items():
        keys = pd.Series(keys_of(frame[column].tolist()), index=frame.index)
        frame[name] = keys.map(known).fillna(0).astype("int64")
    return frame.join(_image_features([row["record_ids"] or () for row in rows], frame, facts.records))


def _image_features(
    record_ids: Iterable[Sequence[str]], frame: pd.DataFrame, records: pd.DataFrame
) -> pd.DataFrame:
    import pandas as pd

    ids = pd.Series([list(row) for row in record_ids], index=frame.index, dtype="object").explode().dropna()
    looked_up = records.reindex(keys_of(ids.tolist()))
    looked_up.index = ids.index
    found = looked_up["modality"].notna()
    sums = pd.DataFrame(
        {
            "num_records_found": found,
            "num_split_agrees": looked_up["split"].eq(frame["split"].reindex(ids.index)),
            "num_modality_agrees": looked_up["modality"].eq(frame["modality"].reindex(ids.index)),
        }
    )
    least = pd.DataFrame(
        {
            "record_boxes_valid": looked_up["boxes_valid"].eq(True) | ~found,
            "shortest_side": looked_up["shortest_side"].fillna(0),
            "num_statements": looked_up["num_statements"].fillna(0),
        }
    )
    folded_sums = sums.astype("int64").groupby(level=0).sum().reindex(frame.index, fill_value=0)
    folded_least = least.astype("int64").groupby(level=0).min().reindex(frame.index, fill_value=1)
    folded_least["record_boxes_valid"] = folded_least["record_boxes_valid"] == 1
    return folded_sums.join(folded_least)


def read_corpus_facts(records_folder: Path, curated_folder: Path) -> CorpusFacts:
    """Read the id columns of all shards (never image bytes) and the image index."""
    records = _record_facts(records_folder).join(_image_index(curated_folder / "images.parquet"), how="left")
    return corpus_facts(read_table(curated_folder, ["pair_id", "patient_key", "split"]), records)


def corpus_facts(pairs: pa.Table, records: pd.DataFrame) -> CorpusFacts:
    """Gather the facts from the pairs' columns pair_id, patient_key, split and the record table."""
    import pandas as pd

    pair_keys = pd.Series(keys_of(pairs["pair_id"]), name="pair")
    patients = pd.DataFrame(
        {"patient": keys_of(pairs["patient_key"]), "split": keys_of(pairs["split"])}
    ).drop_duplicates()
    return CorpusFacts(
        pair_id_count=pair_keys.value_counts(sort=False),
        patient_splits=patients["patient"].value_counts(sort=False), records=records,
    )  # fmt: skip


def _record_facts(folder: Path) -> pd.DataFrame:
    import pandas as pd

    parts = [_record_shard_facts(path) for path in shards_below(folder)]
    together = _with_sets(pd.concat(parts))
    return together[~together.index.duplicated()]


def _with_sets(records: pd.DataFrame) -> pd.DataFrame:
    """Count what a record without pixels says of several images as stated of each of them."""
    sets = records.loc[records["speaks_of"] != "", ["speaks_of", "num_statements"]]
    named = sets.assign(speaks_of=sets["speaks_of"].str.split(" ")).explode("speaks_of")
    said = named["num_statements"].groupby(keys_of(named["speaks_of"].tolist())).sum()
    stated = records["num_statements"] + said.reindex(records.index).fillna(0).astype("int64")
    return records.drop(columns="speaks_of").assign(num_statements=stated)


def _record_shard_facts(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:  # read_table does not know leaves of nested columns
        columns = file.read(columns=list(RECORD_COLUMNS)).to_pydict()
    stated = zip(*(columns[name] for name in STATED), strict=True)
    boxes = [[region["box"] or () for region in row or ()] for row in columns["regions"]]
    return pd.DataFrame(
        {
            "modality": columns["modality"],
            "num_statements": [sum(len(value or ()) for value in row if value != NOT_STATED) for row in stated],
            "boxes_valid": [all(is_valid_box(box) for box in row) for row in boxes],
            "speaks_of": [
                "" if width else named or ""
                for named, width in zip(columns["compared_with"], columns["width"], strict=True)
            ],
        },
        index=pd.Index(keys_of(columns["record_id"]), name="record_id"),
    )


def _image_index(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["record_id", "split", "width", "height"])
    frame = table.drop_columns(["record_id"]).to_pandas().assign(record_id=keys_of(table["record_id"]))
    frame = frame.drop_duplicates("record_id").set_index("record_id")
    return frame.assign(shortest_side=frame[["width", "height"]].min(axis=1))[["split", "shortest_side"]]


def load_pair_shard(path: Path) -> pa.Table:
    """Read the columns the rules need from one shard."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=list(PAIR_COLUMNS))
