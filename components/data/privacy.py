"""What ingest does for the people in its sources, beside reading: a key of their own, quiet libraries, a stamp.

De-identification itself is in `deidentify` (headers, hashes), `hidden_paths`, `scrub` (texts) and `burned_in`
(pixels); what it does and does not do: `docs/privacy.md`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.data import scrub
from components.data.burned_in import RapidReader, Screen
from components.data.card import Card
from components.data.deidentify import profile_stamp
from components.data.hidden_paths import PrivateNames, has_public_people, open_private
from components.errors import ConfigError
from components.settings import BurnedInText, Secrets

KEY_COMMAND = "export GMAI_PATIENT_KEY=\"$(python3 -c 'import secrets; print(secrets.token_hex(32))')\""
PUBLIC_KEY_WARNING = "GMAI_PATIENT_KEY is not set: hashes are made with a public key, fit for public people alone"


def check_patient_key(cards: Iterable[Card], secrets: Secrets) -> None:
    """Raise ConfigError when a source's people are not public and the patient key is the published default."""
    protected = [card.name for card in cards if not has_public_people(card)]
    if protected and secrets.has_public_key:
        more = f" and {len(protected) - 5} more" if len(protected) > 5 else ""
        raise ConfigError(
            f"the patient key is the public default, and these are protected: {', '.join(protected[:5])}{more}",
            where="GMAI_PATIENT_KEY",
            fix=f"{KEY_COMMAND}, and keep it: another key gives other hashes",
        )


@contextmanager
def quiet_libraries() -> Generator[None]:
    """Keep pydicom's warnings off the terminal: they quote the header's values."""
    logger = logging.getLogger("pydicom")
    logger.addFilter(_nothing)  # not its level: pydicom sets that when it is first imported
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")
            yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False


@contextmanager
def keep_names(card: Card, folder: Path, part: str = "") -> Generator[PrivateNames]:
    """Open the file of what a protected source's (or its part's) hidden paths stand for; a public one has none."""
    if has_public_people(card):
        yield PrivateNames()
        return
    with open_private(folder, f"{card.name}.{part}" if part else card.name) as file:
        yield PrivateNames(file)


def open_screen(options: BurnedInText) -> Screen | None:
    """Return the screen for text in pixels, or None when the settings look at no image."""
    return Screen(options, RapidReader()) if options.share else None


def privacy_stamp(card: Card, scrubbed: Mapping[str, int], burned_in: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the source's manifest says of its de-identification: what was applied, and what it found."""
    stamp: dict[str, Any] = {
        "paths": "public" if has_public_people(card) else "hidden by a keyed hash",
        "scrubber": scrub.VERSION,
        "scrubbed": dict(sorted(scrubbed.items())),
        "burned_in_text": dict(burned_in) if burned_in else "not measured",
    }
    return stamp | ({"headers": profile_stamp()} if card.reader.startswith("dicom_") else {})
