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
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, AssertionError) as error:
        raise Refused("xml_malformed", str(error)) from error


def _refuse_doctype(*declared: object) -> NoReturn:
    raise Refused("xml_entities_refused", str(declared[0]))
