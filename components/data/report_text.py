"""A report's sections: parted from a written report, and put together into a record's text and back.

A record's text is "Findings: …\\nImpression: …" (Chinese: 所见：…\\n印象：…), one or both; a report that its
source does not part stays as it is written.
"""

from __future__ import annotations

import re

HEADINGS = {"findings": ("Findings", "所见"), "impression": ("Impression", "印象")}
NAMES = {
    "findings": "findings", "finding": "findings", "impression": "impression", "impressions": "impression",
    "conclusion": "impression", "findings and impression": "findings", "findings/impression": "findings",
}  # fmt: skip
# A line that begins with capitals and a colon opens a section of a MIMIC-CXR report.
OPENING = re.compile(r"^[ \t]*([A-Z][A-Z ,/()&\-]{2,60}):", re.MULTILINE)
JOINED = re.compile(r"^(Findings|Impression|所见|印象)[:：]\s*", re.MULTILINE)


def part_report(written: str) -> dict[str, str]:
    """Return the findings and impression of a report written under headings in capitals; those it has."""
    openings = list(OPENING.finditer(written))
    ends = [*(opening.start() for opening in openings), len(written)][1:]
    found: dict[str, str] = {}
    for opening, end in zip(openings, ends, strict=True):
        name = NAMES.get(opening[1].strip().lower())
        text = one_line(written[opening.end() : end])
        if name and text:
            found[name] = f"{found[name]} {text}" if name in found else text
    return found


def one_line(text: str) -> str:
    """Fold a wrapped text into one line."""
    return " ".join(text.split())


def join_sections(sections: dict[str, str], *, language: str = "en") -> str:
    """Write sections as a record's text; "" when both are empty."""
    colon, column = (": ", 0) if language == "en" else ("：", 1)
    parts = [f"{HEADINGS[name][column]}{colon}{sections[name]}" for name in HEADINGS if sections.get(name)]
    return "\n".join(parts)


def split_sections(text: str) -> dict[str, str]:
    """Return the sections of a record's text; {} for a report without the headings of `join_sections`."""
    names = {heading: name for name, headings in HEADINGS.items() for heading in headings}
    openings = list(JOINED.finditer(text))
    if not openings or openings[0].start():
        return {}
    ends = [opening.start() for opening in openings[1:]] + [len(text)]
    return {
        names[opening[1]]: text[opening.end() : end].strip() for opening, end in zip(openings, ends, strict=True)
    }
