"""Fakes of text sources: captions, questions, conversations and reports, in the tables that a card names."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from components.data.card import Card
from components.data.readers import captions, conversations, gmai_vl_release, hf_parquet, report_tables, vqa
from tests.fakes.planted import Names, Planted, named, save_picture, shade

COLUMN = re.compile(r"\{([^{}]+)\}")
ANSWERS = ("a kidney", "a spleen", "a liver", "a lung")
CHINESE = {"zh": ("图中显示什么器官", "肾脏")}
Row = dict[str, Any]


def build_captions(root: Path, card: Card, names: Names) -> Planted:
    """Write the tables with two captioned pictures each."""
    options = captions.Options.model_validate(card.options)
    texts = set()

    def add(row: Row, number: int) -> None:
        row[options.text] = f"A picture of case {number}."
        texts.add(row[options.text])

    _write_tables(root, options, names, add)
    return Planted(texts=frozenset(texts))


def build_questions(root: Path, card: Card, names: Names) -> Planted:
    """Write the tables with a question about each of two pictures."""
    options = vqa.Options.model_validate(card.options)
    asked = set()

    def add(row: Row, number: int) -> None:
        pair = f"What is shown in case {number}?", ANSWERS[number % 2]
        row.update(question_columns(options, *pair))
        asked.add(pair)

    _write_tables(root, options, names, add)
    return Planted(questions=frozenset(asked))


def question_columns(options: Any, question: str, answer: str) -> Row:
    """The columns of one question: its options as columns or as a list, the answer as text or letter."""
    row: Row = {options.question: question}
    choices = ANSWERS[: max(2, len(options.options))]
    if len(options.options) == 1:
        row[options.options[0]] = json.dumps(choices)
    else:
        row.update(zip(options.options, choices, strict=False))
    is_letter = options.options and options.answer_is == "letter"
    row[options.answer] = "ABCD"[choices.index(answer)] if is_letter else answer
    return row


def build_conversations(root: Path, card: Card, names: Names) -> Planted:
    """Write the tables with a conversation about each of two pictures, or without one."""
    options = conversations.Options.model_validate(card.options)
    asked = set()

    def add(row: Row, number: int) -> None:
        pair = _words(card, number)
        row[options.conversations[-1 if "llava_med" in card.name else 0]] = turns(
            *pair, has_image=bool(options.image)
        )
        asked.add(pair)

    _write_tables(root, options, names, add)
    return Planted(questions=frozenset(asked))


def _words(card: Card, number: int) -> tuple[str, str]:
    if card.language == "zh":
        asked, answer = CHINESE["zh"]
        return f"{asked}{number}?", answer
    return f"What is shown in case {number}?", ANSWERS[number % 2]


def turns(question: str, answer: str, *, has_image: bool) -> list[dict[str, str]]:
    """One question and its answer in LLaVA's form."""
    asked = f"<image>\n{question}" if has_image else question
    return [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]


def build_reports(root: Path, card: Card, names: Names) -> Planted:
    """Write a table with two reports, or two of Open-i's XML files."""
    published = report_tables.Options.model_validate(card.options).published
    if isinstance(published, report_tables.OpenI):
        return _write_open_i(root, published)
    texts = set()

    def add(row: Row, number: int) -> None:
        text = f"The heart of case {number} is not enlarged."
        if published.report:
            row[published.report] = text
        else:
            row[published.findings] = text
            row[published.impression] = "No acute disease."
        texts.add(text)

    _write_tables(root, published, names, add, by_split=bool(published.report))
    return Planted(texts=frozenset(texts))


def _write_open_i(root: Path, published: Any) -> Planted:
    texts = set()
    for number in (1, 2):
        picture, text = f"CXR{number}_1_IM-0001-4001", f"The heart of case {number} is not enlarged."
        where = root / published.reports.replace("*", str(number))
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(
            f'<eCitation><uId id="CXR{number}"/><Abstract><AbstractText Label="FINDINGS">{text}</AbstractText>'
            f'</Abstract><parentImage id="{picture}"/></eCitation>'
        )
        save_picture(root / published.image.replace("{id}", picture), shade(number))
        texts.add(text)
    return Planted(texts=frozenset(texts))


def build_release(root: Path, card: Card, names: Names) -> Planted:
    """Write the release's JSONL and, for rows with pictures, a zip whose members lack `images/`."""
    options = gmai_vl_release.Options.model_validate(card.options)
    asked, lines = set(), []
    images = {f"images/2d/cls/fundus/somewhere/x{number}.png": number for number in (1, 2)}
    for image, number in images.items():
        pair = f"What is shown in case {number}?", ANSWERS[number]
        row = {"id": image.removeprefix("images/").replace("/", "#"), "width": 48, "height": 40}
        row["conversations"] = turns(*pair, has_image=bool(options.zips))  # ty: ignore[invalid-assignment]
        lines.append(json.dumps({**row, "image": image} if options.zips else row))
        asked.add(pair)
    where = root / options.annotations[0]
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text("\n".join(lines))
    for archive in options.zips:
        members = {image.removeprefix("images/"): png_of(number) for image, number in images.items()}
        _write_zip(root / archive.replace("*", "001"), members)
    return Planted(questions=frozenset(asked))


def build_parquet(root: Path, card: Card, names: Names) -> Planted:
    """Write one Parquet file a group with a question about one picture."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    options = hf_parquet.Options.model_validate(card.options)
    asked = set()
    for number, group in enumerate(options.files, start=1):
        pair = f"What is shown in case {number}?", ANSWERS[number % 2]
        row = question_columns(options, *pair) | {options.image[0]: {"bytes": png_of(number), "path": None}}
        row |= {name: f"row {number}" for name in (options.id, options.question_type) if name}
        path = root / group.file.replace("*", "0")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([row]), path)
        asked.add(pair)
    return Planted(questions=frozenset(asked))


def png_of(number: int) -> bytes:
    """The bytes of a numbered picture."""
    out = io.BytesIO()
    Image.fromarray(shade(number)).save(out, "PNG")
    return out.getvalue()


def _write_tables(root: Path, options: Any, names: Names, add: Any, *, by_split: bool = False) -> None:
    """Write two rows a table, with what `add(row, number)` puts into them, and their pictures."""
    number, pictures = 0, {}
    for table in options.tables:
        rows = []
        for _ in range(2):
            number += 1
            row = _shared_columns(options, names, number)
            add(row, number)
            rows.append(row)
            if options.image:
                pictures[_image_of(options.image, row)] = number
        _write_table(root / table.file.replace("*", "1"), table, rows, by_split=by_split)
    if options.archives:
        _write_zip(root / options.archives[0], {path: png_of(number) for path, number in pictures.items()})
        for archive in options.archives[1:]:
            _write_zip(root / archive, {})
        return
    for path, shown in pictures.items():
        save_picture(root / path, shade(shown))


def _shared_columns(options: Any, names: Names, number: int) -> Row:
    columns = COLUMN.findall(options.image)
    row: Row = dict.fromkeys(columns, f"x{number}")
    if columns and options.image.endswith("}"):
        row[columns[-1]] = named(names.get("path", "x{n}.png"), number)
    firsts = {
        options.modality: next(iter(options.modalities), ""), options.language: "en",
        options.split: "train", options.id: str(number), options.patient: f"person {number}",
        options.body_part: "Chest", getattr(options, "question_type", ""): "organ",
    }  # fmt: skip
    row |= {column: value for column, value in firsts.items() if column}
    return row | dict.fromkeys(options.facts.values(), "somewhere")


def _image_of(template: str, row: Mapping[str, Any]) -> str:
    return COLUMN.sub(lambda found: str(row[found[1]]), template)


def _write_table(path: Path, table: Any, rows: list[Row], *, by_split: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps({"train": rows} if by_split else rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as handle:
            delimiter = table.delimiter or ("|" if path.suffix == ".txt" else ",")
            writer = csv.DictWriter(handle, list(table.header or rows[0]), delimiter=delimiter)
            if not table.header:
                writer.writeheader()
            writer.writerows(rows)


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
