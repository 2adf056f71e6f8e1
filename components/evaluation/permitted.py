"""What a model may be used for: the strictest terms of the sources of its training pairs, as ingest noted them.

It is what the data allow; a backbone's own licence is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from components.data.catalog import load_cards
from components.data.pictures_elsewhere import withheld_sources
from components.data.terms import USES, strictest_answers
from components.evaluation.exams import Exam
from components.settings import Settings
from components.tracking.runs import StageRun
from components.tracking.tables import read_table

PERMITTED_USE = "permitted_use.json"


def permitted_use(records: Path, curated: Path) -> dict[str, Any]:
    """Return the sources of the training pairs and what all of them allow.

    A source whose terms the records' manifest does not hold counts as not stated.
    """
    pairs = read_table(curated, ["source", "split"])
    sources = sorted({row["source"] for row in pairs.to_pylist() if row["split"] == "train"})
    manifest = json.loads((records / "manifest.json").read_text(encoding="utf-8"))
    known = manifest.get("details", {}).get("sources", {})
    nothing = dict.fromkeys(USES, "not stated")
    answers = [known.get(name, {}).get("terms", nothing) for name in sources]
    return {"sources": sources, "permitted_use": strictest_answers(answers)}


def withheld_of(run: StageRun, exams: Collection[Exam], settings: Settings) -> frozenset[str]:
    """Return the sources of the exams whose pictures may not go into a run.

    A source without a card is withheld too, unless it is a published benchmark that the settings let leave.
    """
    if run.keeps_here:
        return frozenset()
    cards = load_cards()
    allowed = {card.name for card in cards} - withheld_sources(run, cards)
    shown = {item.source for exam in exams for item in exam.items if item.record_ids}
    return frozenset(shown - allowed - set(settings.evaluation.judge.may_send))
