"""The skeleton of a card, written by looking at a folder; what a folder cannot tell says FILL IN.

Until that is filled in, it is no valid card. Nothing is invented: licence, terms, modality and the meaning of
labels are left to whoever knows them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from components.data.catalog import CARDS, card_files
from components.data.folder_look import look_at
from components.data.guess import Guess
from components.errors import DuplicateDataset
from components.records import DEPARTMENTS, MODALITIES, TASKS
from components.tracking.commit import write_bytes

HEAD = """\
# Written by `gmai source add`; docs/sources.md says what each field means.
# The reader is a guess, because of: {because}
name: {name}
title: # FILL IN: what it is, in one line
citation: # FILL IN: the paper, or "not stated"
url: # FILL IN: where it is published, or "not stated"
revision: # FILL IN: the version, commit or date that was fetched
obtain: # FILL IN: the command or address that brings the files into data/{name}/
licence: # FILL IN: as its publisher writes it, or "not stated"
terms: # FILL IN: yes, no or not stated; what is not stated is treated as forbidden
  may_leave_machine: not stated
  may_reach_third_party_model: not stated
  may_be_redistributed: not stated
  commercial_use: not stated
modality: # FILL IN: one of {modalities}
department: # FILL IN: one of {departments}
task: # FILL IN: one of {tasks}
body_part: # FILL IN: in plain words, or "not stated"
language: en
"""
TAIL = """\
tolerance: 0.05
num_samples: 0
notes: "" # what is ambiguous, and how it was resolved
"""


def write_skeleton(folder: Path, cards: Path = CARDS) -> Path:
    """Write `conf/sources/NAME.yaml` for a folder and return its path; NAME is the folder's.

    Raises DuplicateDataset when there is a card of this name; DataError when no reader fits the files.
    """
    name = card_name(folder)
    known = card_files(cards)
    if name in known:
        raise DuplicateDataset(f"there is a card named {name!r}", where=str(known[name]), fix="rename the folder")
    path = cards / f"{name}.yaml"
    write_bytes(path, skeleton_text(name, look_at(folder)).encode())
    return path


def card_name(folder: Path) -> str:
    """Return the name of a folder's card: `my_set_v2` of `My Set (v2)`."""
    return re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_") or "source"


def skeleton_text(name: str, guess: Guess) -> str:
    """The card's YAML, in the order of docs/sources.md."""
    head = HEAD.format(
        name=name, because=guess.because, modalities=", ".join(MODALITIES), departments=", ".join(DEPARTMENTS),
        tasks=", ".join(TASKS),
    )  # fmt: skip
    middle = _yaml({"reader": guess.reader, "options": guess.options, "patient": guess.patient})
    who = "# the line above is a guess: see patient in docs/sources.md\n"
    split = "# the publisher's parts by their folders; or shares of patients\n" + _yaml({"split": guess.split})
    return head + middle + who + split + TAIL + _label_map(guess)


def _label_map(guess: Guess) -> str:
    if not guess.labels:
        return 'label_map: {} # FILL IN, if the source has labels: its word -> the canonical term; "" drops it\n'
    lines = (f"  {_key(label)}: # FILL IN: the canonical term\n" for label in guess.labels)
    return "label_map: # seen in the files\n" + "".join(lines)


def _key(label: str) -> str:
    return yaml.safe_dump(label, default_style='"', allow_unicode=True, width=10_000).strip()


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)
