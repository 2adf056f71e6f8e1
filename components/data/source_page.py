"""Ten records of a source as one HTML page: pictures with boxes drawn, and all that is said of them.

The page holds its pictures and needs no network. It is written below `var/`, which is not committed: it may
show what the source's terms keep on this machine.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape
from pathlib import Path

from components.data.card import Card, load_card
from components.data.catalog import find_reader, load_cards
from components.data.contact_sheet import draw_record
from components.data.image import encode_png
from components.data.ingest import check_present, make_jobs
from components.data.privacy import check_patient_key, quiet_libraries
from components.data.reading import parse_options
from components.data.source_list import terms_in_words
from components.data.source_look import Look, look_into
from components.errors import DataError
from components.records import Record
from components.settings import Settings, load_secrets
from components.tracking.commit import write_bytes

PAGES = Path("var/source_check")
STYLE = (
    "body{font-family:sans-serif;margin:2em;max-width:70em}article{display:flex;gap:1em;margin:1em 0;"
    "border-top:1px solid #ccc;padding-top:1em}dl{margin:0}dt{font-weight:bold}img{image-rendering:auto}"
)


def check_source(settings: Settings, name: str, *, pages: Path = PAGES) -> None:
    """Write a card's page and print where it is and what was counted.

    Raises:
        CardInvalid: the card or its options do not fit.
        DatasetMissing: its files are not here.
        ConfigError: its people are protected and the patient key is the public default.
        DataError: no record could be read; the page with the reasons is there all the same.
    """
    path, look = write_source_page(settings, name, pages=pages)
    if not look.records:
        fix = f"{path} has each; docs/sources.md says what the reasons mean and what helps"
        raise DataError(f"no record could be read: {look.counted}", where=name, fix=fix)
    print(f"{look.counted}\n{path}: {len(look.records)} records of {_files(look)} files")


def _files(look: Look) -> int:
    return len({record.source_path for record in look.records})


def write_source_page(settings: Settings, name: str, *, pages: Path = PAGES) -> tuple[Path, Look]:
    """Read ten records of a card (by name, or its YAML file) and write their page; raises as `check_source`."""
    card = _find_card(name)
    check_present([card], settings.corpus.data_root)
    check_patient_key([card], load_secrets())
    with quiet_libraries():
        look = look_into(make_jobs(settings, [card], pages)[0])
    path = pages / f"{card.name}.html"
    write_bytes(path, render_page(card, look).encode())
    return path, look


def _find_card(name: str) -> Card:
    if not name.endswith((".yaml", ".yml")):
        return load_cards(names=[name])[0]
    card = load_card(Path(name))
    parse_options(find_reader(card.reader).Options, card)
    return card


def render_page(card: Card, look: Look) -> str:
    """The whole page as HTML."""
    facts = {
        "modality": card.modality, "department": card.department, "task": card.task, "reader": card.reader,
        "licence": card.licence, "terms": terms_in_words(card), "labels": ", ".join(card.labels) or "none",
    }  # fmt: skip
    lost = "".join(f"<li>{escape(r.where)}: <b>{escape(r.reason)}</b> {escape(r.hint)}</li>" for r in look.refused)
    told = f"<h2>Refused on the way: {look.reasons.total()}</h2><ul>{lost}</ul>" if look.refused else ""
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(card.name)}</title>"
        f"<style>{STYLE}</style><h1>{escape(card.title)}</h1>{_list(facts.items())}"
        f"<p>{escape(look.counted)}</p>"
        f"<h2>{len(look.records)} records</h2>{''.join(map(_article, look.records))}{told}</html>\n"
    )


def _article(record: Record) -> str:
    picture = "<p>text without a picture</p>"
    if record.has_pixels:
        content = b64encode(encode_png(draw_record(record))).decode()
        picture = f"<img alt='{escape(record.record_id)}' src='data:image/png;base64,{content}'>"
    return f"<article>{picture}{_list(_said_of(record))}</article>"


def _said_of(record: Record) -> list[tuple[str, str]]:
    regions = ", ".join(f"{region.label} ({region.side})" for region in record.regions)
    said = [
        ("file", record.source_path), ("modality", record.modality), ("split", record.split),
        ("plane, window", f"{record.plane}, {record.window}"), ("labels", ", ".join(record.labels)),
        ("ruled out", ", ".join(record.absent_labels)), ("regions", regions), (record.text_kind, record.text),
    ]  # fmt: skip
    said += [(f"question {place}", f"{q.question} {q.answer}") for place, q in enumerate(record.questions[:5], 1)]
    return [(name, value) for name, value in (*said, *record.facts) if value]


def _list(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows) + "</dl>"
