"""What a language offers to the makers of pairs: sentence shapes by key, and names for things.

Makers choose what is said and this room says it; a name that the language lacks raises TermMissing, and the
pair is then written in English as a whole, never half-translated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from components.records import Box


class TermMissing(LookupError):
    """The language has no word for a term."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One language. `shapes` maps a key to its sentence shapes with named slots.

    `term` names a term bare ("kidney"); `thing` names it as a sentence does, with the side if one is given
    ("the left kidney", "a lung tumour"); `named` names one known object ("the lung tumour"); `several` names n of
    it ("three nuclei", "the left and right kidney"); `image` names a kind of image from (modality, plane), each
    of which may be not stated.
    `finished` mends a filled sentence's grammar.
    """

    language: str
    shapes: Mapping[str, tuple[str, ...]]
    yes: str
    no: str
    sides: Mapping[str, str]
    term: Callable[[str], str]
    thing: Callable[[str, str], str]
    named: Callable[[str, str], str]
    several: Callable[[str, Sequence[str], int], str]
    image: Callable[[str, str], str]
    modality: Callable[[str], str]
    joined: Callable[[Sequence[str]], str]
    listed: Callable[[Sequence[str]], str]
    place: Callable[[Box], str]
    separator: str
    finished: Callable[[str], str]

    def say(self, key: str, rng: Random, **slots: object) -> str:
        """Fill one of the key's sentence shapes, chosen by `rng`; a sentence begins with a capital."""
        text = self.finished(rng.choice(self.shapes[key]).format(**slots))
        return text[:1].upper() + text[1:]


def grid_place(box: Box) -> tuple[int, int]:
    """Return the (row, column) of a box's centre in a 3 x 3 grid over the image, 0-2 each."""
    middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return min(2, int(middle_y * 3)), min(2, int(middle_x * 3))


def box_text(box: Sequence[float]) -> str:
    """Write a box as `<box> [[0.18, 0.16, 0.50, 0.43]]</box>` (xyxy, 0-1, two decimals; paper, Figure 1)."""
    return "<box> [[" + ", ".join(f"{value:.2f}" for value in box) + "]]</box>"


def referred(name: str, box: Sequence[float]) -> str:
    """Write a named box as `<ref>label</ref><box> [[…]]</box>`."""
    return f"<ref>{name}</ref>{box_text(box)}"
