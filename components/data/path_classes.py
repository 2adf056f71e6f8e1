"""A label that a path states: a folder's name, or what a pattern finds; and what such a class rules out."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pydantic import Field, model_validator

from components.data.card import Card
from components.data.faults import Refused
from components.data.pictures import canonical_labels, split_labels
from components.settings import Frozen, Words


class PathClasses(Frozen):
    """How a path tells the class, and what a class says beside itself."""

    class_depth: int | None = Field(
        default=None,
        description="which folder of the path is the class: 0 the first, -1 the one that holds the file",
    )
    class_pattern: str = Field(
        default="", description="instead: regular expression over the path, whose one group is the class"
    )
    separator: str = Field(default="", description="between several labels in one class name")
    rules_out: dict[str, Words] = Field(
        default_factory=dict, description="class -> canonical terms that it rules out"
    )
    exclusive: bool = Field(default=False, description="a class rules out all the others of the card")

    @model_validator(mode="after")
    def _pattern_has_one_group(self) -> PathClasses:
        if self.class_pattern and re.compile(self.class_pattern).groups != 1:
            raise ValueError(f"`class_pattern` must have exactly one group: {self.class_pattern!r}")
        return self


def labels_of_path(relative: str, card: Card, options: PathClasses) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the canonical labels that a path states, and those it rules out; two empty ones when it need not.

    Raises Refused: `class_not_in_path`, `label_not_in_vocabulary`.
    """
    if not options.class_pattern and options.class_depth is None:
        return (), ()
    name = _class_name(relative, options)
    labels = set(canonical_labels(split_labels(name, options.separator, card), card))
    absent = set(options.rules_out.get(name, ())) | (set(card.labels) if options.exclusive and labels else set())
    return tuple(sorted(labels)), tuple(sorted(absent - labels))


def _class_name(relative: str, options: PathClasses) -> str:
    if options.class_pattern:
        match = re.search(options.class_pattern, relative)
        if match is None or not match[1]:
            raise Refused("class_not_in_path", relative)
        return match[1]
    folders = PurePosixPath(relative).parts[:-1]
    depth = options.class_depth or 0
    if not -len(folders) <= depth < len(folders):
        raise Refused("class_not_in_path", relative)
    return folders[depth]
