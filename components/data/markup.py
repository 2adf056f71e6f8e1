"""XML without surprises: no document type, so no entity can be declared, expanded or fetched."""

from __future__ import annotations

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from components.data.faults import Refused

LARGEST_BYTES = 64 << 20


def parse_xml(content: bytes) -> Element:
    """Parse a document; Refused: `file_empty`, `xml_too_large`, `xml_entities_refused`, `xml_malformed`."""
    if not content.strip():
        raise Refused("file_empty")
    if len(content) > LARGEST_BYTES:
        raise Refused("xml_too_large", f"{len(content)} bytes")
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = lambda tag, marks: builder.start(
        _named(tag), {_named(k): v for k, v in marks.items()}
    )
    parser.EndElementHandler = lambda tag: builder.end(_named(tag))
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, AssertionError) as error:
        raise Refused("xml_malformed", str(error)) from error


def _named(name: str) -> str:
    """Write a namespace the way ElementTree does, "{address}name"."""
    return f"{{{name}" if "}" in name else name


def _refuse_doctype(*declared: object) -> NoReturn:
    raise Refused("xml_entities_refused", str(declared[0]))
