"""Pictures and the tracking store: where a run's artefacts leave this machine, only pictures that may go along do.

`may_leave_machine` decides, and only `yes` is a yes. Pages keep their words and numbers; what is withheld is
printed and stands in the run's tag `gmai.pictures_withheld`. A store behind a tunnel looks local.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from components.data.card import Card
from components.data.terms import allows
from components.tracking.runs import StageRun

WITHHELD_TAG = "gmai.pictures_withheld"
PICTURE = re.compile(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+")


def withheld_sources(run: StageRun, cards: Iterable[Card]) -> frozenset[str]:
    """Return the sources whose pictures may not go into a run: none when its artefacts stay on this machine."""
    if run.keeps_here:
        return frozenset()
    return frozenset(card.name for card in cards if not allows(card, "may_leave_machine"))


def say_withheld(run: StageRun, withheld: Collection[str]) -> None:
    """Say in the run and on the terminal whose pictures were not logged; nothing when there are none."""
    if withheld:
        names = ", ".join(sorted(withheld))
        run.set_tags({WITHHELD_TAG: names})
        print(f"pictures not logged, their terms do not let them leave this machine: {names}")


def log_page(run: StageRun, page: Path, withheld: Collection[str], *, folder: str = "") -> None:
    """Log a page with its pictures, or with none of them when it may show some that are withheld."""
    if not withheld:
        run.log_artifact(page, folder)
        return
    say_withheld(run, withheld)
    name = f"{folder}/{page.name}".lstrip("/")
    run.log_text(without_pictures(page.read_text(encoding="utf-8")), name)


def without_pictures(page: str) -> str:
    """Return an HTML page without the pictures inside it."""
    return PICTURE.sub("data:,", page)
