"""One Open-i report (the Indiana University chest X-rays): an XML file of sections, images and MeSH terms.

A document type declaration is refused before anything else is read: it is the way to entities, which name files
and multiply without end, and the published files have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from components.data.faults import Refused
from components.data.report_text import NAMES, one_line

MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class OpenIReport:
    """What a file says; `images` are the ids of its pictures, `terms` the MeSH major terms as written."""

    name: str
    sections: dict[str, str]
    images: tuple[str, ...]
    terms: tuple[str, ...]


def read_report(path: Path) -> OpenIReport:
    """Read one file; Refused: `xml_entities`, `xml_unreadable`, `file_too_large`, `file_missing`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Refused("file_too_large")
        content = path.read_bytes()
    except OSError as error:
        raise Refused("file_unreadable") from error
    _refuse_declarations(content)
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise Refused("xml_unreadable") from error
    unique = root.find(".//uId")
    return OpenIReport(
        name=unique.get("id", "") if unique is not None else path.stem, sections=_sections(root),
        images=tuple(one.get("id", "").strip() for one in root.iter("parentImage")),
        terms=tuple(text for one in root.iter("major") if (text := one_line("".join(one.itertext())))),
    )  # fmt: skip


def _sections(root: ElementTree.Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in root.iter("AbstractText"):
        name = NAMES.get(one.get("Label", "").strip().lower())
        text = one_line("".join(one.itertext()))
        if name and text:
            found[name] = text
    return found


def _refuse_declarations(content: bytes) -> None:
    """Read the document once for its declarations alone; nothing of them is expanded."""
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise Refused("xml_entities")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Refused("xml_unreadable") from error
