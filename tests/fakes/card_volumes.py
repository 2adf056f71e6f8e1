"""Fakes of volume sources: two cases in the templates of a nifti_cases card, every label a block of voxels.

In LPS order the blocks of the patient's right lie at low first indices and those of the left at high ones.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from components.data.card import Card, Term
from components.data.readers import plain_volumes
from components.data.readers.nifti_cases import Options
from tests.fakes.formats_volumes import write_metaimage
from tests.fakes.planted import Names, Planted, named
from tests.fakes.sources import write_nifti

NAMED = re.compile(r"\{(\w+)(?::[^{}]+)?\}")
SHAPE = (30, 32, 6)
MAX_MASK_FILES = 10
FIRST_COLUMN = {"right": 2, "left": 22, "not stated": 12}
Terms = dict[str, Term]


def build_cases(root: Path, card: Card, names: Names) -> Planted:
    """Write the images and labels of two cases."""
    options = Options.model_validate(card.options)
    terms = _planted_terms(card, options)
    codes = _code_volume(terms)
    for number in (1, 2):
        for kind in options.images:
            known = {name: named(names.get(name, f"{name}{{n}}"), number) for name in NAMED.findall(kind.path)}
            volume = _body(codes, number, card.modality == "CT", len(kind.channels))
            write_volume(root / fill(kind.path, known), volume)
            _write_labels(root, options, kind.labels, known, codes, terms)
    kept = [term for term in terms.values() if term.label]
    return Planted(regions=frozenset((term.label, term.side) for term in kept), has_masks=True)


def build_plain(root: Path, card: Card, names: Names) -> Planted:
    """Write two volumes without labels; what they show is said by the card."""
    groups = plain_volumes.Options.model_validate(card.options).groups
    for group in groups:
        for number in (1, 2):
            volume = np.full(SHAPE, 40 if card.modality == "CT" else 400, dtype=np.int16)
            volume[number] += np.int16(30)
            write_nifti(root / group.files.replace("*", f"x{number}"), volume)
    return Planted(labels=frozenset(label for group in groups for label in group.labels))


def fill(template: str, known: dict[str, str]) -> str:
    """Fill a path template; `{name:REGEX}` counts as {name}, wildcards become a name, `**/` a folder."""
    return NAMED.sub(lambda found: known[found[1]], template).replace("**/", "deep/").replace("*", "any")


def _planted_terms(card: Card, options: Options) -> Terms:
    """Source label -> term of all that is planted; of mask files only so many, sides first."""
    terms = {source: term for source in card.label_map if (term := card.term(source)) is not None}
    if options.label_threshold is not None:
        return {source: term for source, term in terms.items() if source == "1"}
    if not options.masks:
        return terms
    allowed = re.search(r"\{label:([^{}]+)\}", options.masks)
    sided = sorted(terms, key=lambda source: terms[source].side == "not stated")
    kept = [source for source in sided if not allowed or source in allowed[1].split("|")]
    return {source: terms[source] for source in kept[:MAX_MASK_FILES] if terms[source].label}


def _code_volume(terms: Terms) -> dict[str, np.ndarray]:
    """A boolean block a source label, none over another."""
    used = dict.fromkeys(FIRST_COLUMN, 0)
    blocks = {}
    for source, term in terms.items():
        place, used[term.side] = used[term.side], used[term.side] + 1
        column, row = FIRST_COLUMN[term.side] + 3 * (place // 14), 2 + 2 * (place % 14)
        block = np.zeros(SHAPE, dtype=bool)
        block[column : column + 2, row : row + 2] = True
        blocks[source] = block
    return blocks


def _body(codes: dict[str, np.ndarray], number: int, is_ct: bool, num_channels: int) -> np.ndarray:
    volume = np.full(SHAPE, 40 if is_ct else 400, dtype=np.int16)
    for place, block in enumerate(codes.values()):
        volume[block] += 20 + 5 * place + number
    volume[0] = -1000 if is_ct else 0
    return np.stack([volume] * num_channels, axis=-1) if num_channels else volume


def _write_labels(
    root: Path, options: Options, own: str | None, known: dict[str, str], codes: dict[str, Any], terms: Terms
) -> None:
    if options.masks:
        for source, block in codes.items():
            write_volume(root / fill(options.masks, {**known, "label": source}), block.astype(np.uint8))
        return
    numbers = {name: code for code, name in options.label_names.items()}
    volume = np.zeros(SHAPE, dtype=np.int16)
    for source, block in codes.items():
        volume[block] = numbers.get(source) or int(source)
    write_volume(root / fill(options.labels if own is None else own, known), volume)


def write_volume(path: Path, voxels: np.ndarray) -> None:
    """Write an LPS array in the format of the path's ending."""
    if path.name.endswith((".mha", ".mhd")):
        write_metaimage(path, voxels)
    elif path.name.endswith((".nrrd", ".nhdr")):
        _write_nrrd(path, voxels)
    elif path.suffix == ".npy":
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, voxels)
    else:
        write_nifti(path, voxels)


def _write_nrrd(path: Path, voxels: np.ndarray) -> None:
    import nrrd

    path.parent.mkdir(parents=True, exist_ok=True)
    space = {
        "space": "left-posterior-superior", "space directions": np.diag([2.0, 2.0, 4.0]),
        "space origin": [-20.0, -15, -30],
    }  # fmt: skip
    nrrd.write(str(path), voxels, space)
