"""Guesses for rows: JSON, JSONL, CSV, Parquet and WebDataset, by the names of their columns.

A column's name says what it holds; which picture a row names is found by looking for its cells among the files,
or in the first zip file.
"""

from __future__ import annotations

import csv
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from components.data.guess import MOST_LABELS, PICTURES, Folder, Guess, split_named
from components.data.json_rows import iterate_json
from components.data.reading import UNREADABLE
from components.errors import DataError

MOST_TABLES = 20
MOST_ROWS = 200
MOST_NAMES = 20_000
WHOLE_BYTES = 64 << 20  # of a JSON file whose sections are listed
DELIMITERS = (",", ";", "\t", "|")
MEANINGS = {
    "conversations": ("conversations", "conversation", "conversatons"),
    "question": ("question", "query", "questions", "prompt", "instruction", "q"),
    "answer": ("answer", "response", "answers", "gt_answer", "ground_truth", "output", "a"),
    "caption": ("caption", "captions", "description", "text"),
    "report": ("report", "reports", "report_text"),
    "findings": ("findings", "finding"),
    "impression": ("impression", "impressions"),
    "label": ("label", "class", "diagnosis", "dx", "category", "target", "finding", "finding_labels", "grade"),
}
Cells = Mapping[str, Any]


def guess_rows(folder: Folder) -> Guess | None:
    """Tables of conversations, questions, reports or captions; all that have the first one's columns."""
    found: list[tuple[list[dict[str, Any]], Cells]] = []
    for file in folder.ending(".json", ".jsonl", ".csv", ".tsv")[:MOST_TABLES]:
        row = first_row(folder.root / file)
        if row and (not found or row.keys() == found[0][1].keys()) and kind_of(row):
            found.append((_tables_of(folder.root, file, row), row))
    if not found:
        return None
    row, tables = found[0][1], [table for tables, _ in found for table in tables]
    image, archives = image_template(row, folder)
    return _said(kind_of(row), row, {"tables": tables, "image": image, **archives})


def kind_of(row: Cells) -> str:
    """Tell what a row's columns say: conversations, question, report, caption, or "" for none of these."""
    named = {meaning for meaning in MEANINGS if column_of(row, meaning)}
    if "conversations" in named or {"question", "answer"} <= named:
        return "conversations" if "conversations" in named else "question"
    if named & {"report", "findings", "impression"} and not {"finding"} & {str(name).lower() for name in row}:
        return "report"
    return "caption" if "caption" in named else ""


def column_of(row: Cells, meaning: str) -> str:
    """Return the column that bears a meaning's name, in whatever case; "" where none does."""
    lower = {
        str(name).rpartition(".")[2].strip().lower().replace(" ", "_"): str(name) for name in reversed([*row])
    }
    return next((lower[word] for word in MEANINGS[meaning] if word in lower), "")


def _said(kind: str, row: Cells, shared: dict[str, Any]) -> Guess:
    because = f"{kind} in {shared['tables'][0]['file']}: columns {', '.join(map(str, row))}"
    if kind == "conversations":
        return Guess("conversations", {**shared, "conversations": column_of(row, kind)}, because)
    if kind == "question":
        columns = {name: column_of(row, name) for name in ("question", "answer")}
        return Guess("vqa", {**shared, **columns}, because)
    if kind == "caption":
        return Guess("captions", {**shared, "text": column_of(row, kind)}, because)
    whole = column_of(row, "report")
    parts = {name: column for name in ("findings", "impression") if (column := column_of(row, name))}
    published = {"layout": "table", **shared, **({"report": whole} if whole else parts)}
    return Guess("report_tables", {"published": published}, because)


def first_row(path: Path) -> Cells:
    """The first row of a table or of a JSON file; {} when it has none or cannot be read."""
    try:
        if path.suffix.lower() in (".csv", ".tsv"):
            return next(read_cells(path), {})
        with path.open(encoding="utf-8-sig") as handle:
            if path.suffix.lower() == ".jsonl":
                row = json.loads(handle.readline())
            else:
                row = next((item for _, item in iterate_json(handle, path.name)), None)
    except (*UNREADABLE, DataError):
        return {}
    return flat(row) if isinstance(row, dict) else {}


def flat(row: Cells) -> Cells:
    """Return a row's columns, those of an object inside it as `object.column`, without the key of its section."""
    nested = {f"{name}.{inner}": said for name, value in row.items() if isinstance(value, dict)
              for inner, said in value.items()}  # fmt: skip
    return {name: said for name, said in row.items() if name != "_key" and not isinstance(said, dict)} | nested


def encoding_of(path: Path) -> str:
    """Return `utf-8-sig` for a text that reads as such, else `latin-1`."""
    with path.open("rb") as handle:
        head = handle.read(1 << 16)
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return "utf-8-sig" if error.start > len(head) - 4 else "latin-1"
    return "utf-8-sig"


def delimiter_of(path: Path) -> str:
    """Return the mark that cuts a table's header into the most cells; a comma where none does."""
    with path.open(encoding=encoding_of(path)) as handle:
        header = handle.readline(1 << 16)
    return max(DELIMITERS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def read_cells(path: Path) -> Iterator[dict[str, str]]:
    """Yield the first rows of a delimited table; raises OSError, ValueError or csv.Error (a ValueError here)."""
    with path.open(newline="", encoding=encoding_of(path)) as handle:
        try:
            rows = list(islice(csv.DictReader(handle, delimiter=delimiter_of(path)), MOST_ROWS))
        except csv.Error as error:
            raise ValueError(str(error)) from error
    yield from ({str(name): str(cell) for name, cell in row.items() if name is not None} for row in rows)


def _tables_of(root: Path, file: str, row: Cells) -> list[dict[str, Any]]:
    """Return a file's entries among the `tables`: with its split, delimiter and encoding, a section each."""
    path, split = root / file, split_named(PurePosixPath(file).name)
    table: dict[str, Any] = {"file": file, **({"split": split} if split else {})}
    if path.suffix.lower() in (".csv", ".tsv"):
        mark, encoding = delimiter_of(path), encoding_of(path)
        table |= {"delimiter": mark} if mark != {".csv": ",", ".tsv": "\t"}[path.suffix.lower()] else {}
        return [table | ({"encoding": encoding} if encoding == "latin-1" else {})]
    sections = _sections(path) if path.suffix.lower() == ".json" else []
    if sections and all(split_named(name) for name in sections):
        return [{"file": file, "section": name, "split": split_named(name)} for name in sections]
    return [table]


def _sections(path: Path) -> list[str]:
    if path.stat().st_size > WHOLE_BYTES:
        return []
    whole = json.loads(path.read_text(encoding="utf-8-sig"))
    return [name for name, rows in whole.items() if isinstance(rows, list)] if isinstance(whole, dict) else []


def image_template(row: Cells, folder: Folder) -> tuple[str, dict[str, Any]]:
    """Return the path of a row's image with its column in braces, and the `archives` it lies in.

    What cannot be found is left to be filled in.
    """
    if template := template_of(row, folder.ending(*PICTURES)):
        return template, {}
    zips = folder.ending(".zip")
    if template := template_of(row, _names_in(folder.root / zips[0]) if zips else []):
        return template, {"archives": zips}
    return f"FILL IN: path of the image, a column in braces; columns: {', '.join(map(str, row))}", {}


def template_of(row: Cells, pictures: Sequence[str]) -> str:
    """Return the template by which one of a row's cells names one of the pictures, or ""."""
    for column, value in row.items():
        cell = value[0] if isinstance(value, list) and value else value
        text = str(cell).strip().removeprefix("./") if isinstance(cell, str | int) else ""
        for file in pictures if text else ():
            if file == text or file.endswith(f"/{text}"):
                return f"{file[: len(file) - len(text)]}{{{column}}}"
            path = PurePosixPath(file)
            if path.stem == text:
                return (path.parent / f"{{{column}}}{path.suffix}").as_posix()
    return ""


def _names_in(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.namelist()[:MOST_NAMES]
    except (OSError, zipfile.BadZipFile):
        return []


def guess_labels(folder: Folder) -> Guess | None:
    """A table whose rows name pictures and say what they show."""
    pictures = folder.ending(*PICTURES)
    for file in folder.ending(".csv", ".tsv")[:MOST_TABLES] if pictures else ():
        try:
            rows = list(read_cells(folder.root / file))
        except UNREADABLE:
            continue
        template = template_of(rows[0], pictures) if rows else ""
        if template:
            return _label_table(folder, file, rows, template)
    return None


def _label_table(folder: Folder, file: str, rows: Sequence[Cells], template: str) -> Guess:
    column = column_of(rows[0], "label")
    column = "" if f"{{{column}}}" in template else column
    labels = sorted({str(row[column]).strip() for row in rows if column} - {""})[:MOST_LABELS]
    options = {
        "tables": [file], "delimiter": delimiter_of(folder.root / file), "image": template,
        "encoding": encoding_of(folder.root / file), "label_column": column or "FILL IN: a column",
    }  # fmt: skip
    others = ", ".join(name for name in rows[0] if f"{{{name}}}" not in template)
    return Guess("label_table", options, f"{file}, whose other columns are: {others}", tuple(labels))


def guess_parquet(folder: Folder) -> Guess | None:
    """Hugging Face Parquet, its columns by their names."""
    files = folder.ending(".parquet")
    if not files:
        return None
    import pyarrow.parquet as pq

    try:
        names = dict.fromkeys(pq.read_schema(folder.root / files[0]).names)
    except UNREADABLE:
        names = {}
    splits = sorted({split_named(PurePosixPath(file).name) for file in files} - {""})
    words = {
        split: PurePosixPath(next(f for f in files if split_named(PurePosixPath(f).name) == split))
        for split in splits
    }
    groups = [{"file": f"**/{_prefix(path.name)}*.parquet", "split": split} for split, path in words.items()]
    pictures = [name for name in names if "image" in name.lower()][:1] or ["image"]
    options = {"files": groups or [{"file": "**/*.parquet"}], "image": pictures, **_columns(names)}
    return Guess("hf_parquet", options, f"Parquet files such as {files[0]}: columns {', '.join(names)}")


def _prefix(name: str) -> str:
    return name.partition("-")[0].partition(".")[0]


def _columns(row: Cells) -> dict[str, Any]:
    """The columns of a text, of a question or of a conversation, for the readers whose rows may have any."""
    kind = kind_of(row)
    if kind == "conversations":
        return {kind: column_of(row, kind)}
    if kind == "question":
        return {name: column_of(row, name) for name in ("question", "answer")}
    if kind:
        text = column_of(row, kind) or column_of(row, "findings") or column_of(row, "impression")
        return {"text": text, "text_kind": kind}
    return {"text": "FILL IN: a column"}


def guess_shards(folder: Folder) -> Guess | None:
    """WebDataset shards, by the members of the first sample."""
    files = folder.ending(".tar")
    sample = _first_sample(folder.root / files[0]) if files else {}
    if not {f".{ending}" for ending in sample} & set(PICTURES):
        return None
    options: dict[str, Any] = {"shards": [{"file": "**/*.tar"}]}
    if "json" in sample and kind_of(sample["json"]):
        options |= _columns(sample["json"])
    elif "txt" in sample:
        options["text_member"] = "txt"
    if "cls" in sample:
        options |= {"class_member": "cls", "classes": ["FILL IN: name of class 0"]}
    told = f"members {', '.join(sample)} of a sample in {files[0]}"
    return Guess("webdataset", options, told) if len(sample) > 1 else None


def _first_sample(path: Path) -> dict[str, Any]:
    """Return the endings of the first sample's members; of `json`, its columns."""
    found: dict[str, Any] = {}
    key = ""
    try:
        with tarfile.open(path, "r|*") as shard:
            for member in islice((one for one in shard if one.isfile()), 50):
                stem, _, ending = PurePosixPath(member.name).name.partition(".")
                if stem != (key := key or stem):
                    break
                opened = shard.extractfile(member) if ending == "json" and member.size < WHOLE_BYTES else None
                found[ending.lower()] = json.loads(opened.read()) if opened else None
    except (*UNREADABLE, tarfile.TarError):
        pass  # what was seen before the fault is told
    return {
        ending: value if isinstance(value, dict) or ending != "json" else {} for ending, value in found.items()
    }
