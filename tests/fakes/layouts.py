"""What the published file trees say, cut down to names: a second witness beside cards and the fakes made of them.

`layouts.json` holds, for each published data set of the project's facts, the names that its file tree shows
(numbers as `#`, so that one stands for all) and the file formats that are stated. It is facts alone, written by
`python -m tests.fakes.layouts FACTS.jsonl`; no card is looked at. A fake is built from its card's own templates,
so only this file can tell that a template is wrong.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.data.card import Card

KEPT = Path(__file__).with_name("layouts.json")
MOST_NAMES = 60
RULES = re.compile(r"^[\s│├└─|—\-`'’]+")
WORD = re.compile(r"[A-Za-z]{3,}")
ENDING = re.compile(r"\.(nii\.gz|[A-Za-z][A-Za-z0-9]*)$")
IN_BRACES = re.compile(r"\{[^{}]*\}")
# The options of all readers that say where files lie.
PLACES = frozenset({
    "images", "image", "path", "labels", "masks", "annotations", "tables", "file", "files", "frames", "videos",
    "slides", "lines", "names_file", "all_lines", "split_files", "archives",
})  # fmt: skip
WITNESS = {"jpeg": "jpg", "tiff": "tif", "dicom": "dcm"}


def names_of(tree: str) -> list[str]:
    """Return the names that a drawn file tree shows, once each, without its rules, dots and numbers."""
    stripped = (re.sub(r"\d+", "#", RULES.sub("", line)).strip() for line in tree.splitlines())
    return list(dict.fromkeys(name for name in stripped if name.strip(". ")))[:MOST_NAMES]


def extract(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return data set -> its names and stated formats."""
    return {
        row["name"]: {"names": names_of(row.get("layout", "")), "formats": row.get("file_format", "")}
        for row in rows
    }


@functools.cache
def published() -> dict[str, dict[str, Any]]:
    """Read what is kept: data set -> names, formats."""
    loaded: dict[str, dict[str, Any]] = json.loads(KEPT.read_text())
    return loaded


def plain(text: str) -> str:
    """Return a name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


@functools.cache
def _by_plain_name() -> dict[str, str]:
    return {plain(name): name for name in published()}


def published_as(card: Card) -> str:
    """Return the data set's name in the facts, "" for a card that rests on other facts."""
    told = (card.title, card.title.split(" (")[0], re.split(r"\. http|; citation", card.citation)[0], card.name)
    return next((_by_plain_name()[plain(text)] for text in told if plain(text) in _by_plain_name()), "")


def templates(options: Any, place: str = "") -> Iterator[str]:
    """Yield every glob and path template of a card's options."""
    if isinstance(options, Mapping):
        for key, value in options.items():
            # In `split_files` the keys are the paths.
            yield from templates(list(value), "file") if key == "split_files" else templates(value, str(key))
    elif isinstance(options, list | tuple):
        for value in options if place not in ("labels", "image") else ():  # lists of those are terms, not paths
            yield from templates(value, place)
    elif isinstance(options, str) and place in PLACES:
        yield options


def words_and_endings(card: Card) -> tuple[set[str], set[str]]:
    """Return the literal words of a card's paths, lower case, and their endings (jpeg as jpg, tiff as tif)."""
    words: set[str] = set()
    endings: set[str] = set()
    for template in templates(card.options):
        found = ENDING.search(template)
        if found:
            endings.add(same_endings(found[1]))
        bare = IN_BRACES.sub(" ", template[: found.start()] if found else template)
        words |= {same_endings(word) for word in WORD.findall(bare)}
    return words, endings


def not_published(card: Card) -> tuple[str, ...]:
    """Return the words and endings (with a dot) of a card's paths that its published layout does not show."""
    layout = published()[published_as(card)]
    names, formats = (same_endings(text) for text in (" ".join(layout["names"]), layout["formats"]))
    words, endings = words_and_endings(card)
    # A word of the tree may be a part of it ("images" in "imagesTr"), never the other way.
    missing = {word for word in words if word not in f"{names} {formats}"}
    unseen = {
        end for end in endings if f".{end}" not in names and not re.search(rf"\b{re.escape(end)}\b", formats)
    }
    return tuple(sorted(missing | {f".{ending}" for ending in unseen}))


def same_endings(text: str) -> str:
    """Write one ending for those that mean one format, in lower case."""
    return re.sub("jpeg|tiff|dicom", lambda found: WITNESS[found[0]], text.lower())


def main() -> None:
    """Write layouts.json from the facts, a JSON object a line."""
    with Path(sys.argv[1]).open() as lines:
        rows = [json.loads(line) for line in lines]
    KEPT.write_text(json.dumps(extract(rows), ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    main()
