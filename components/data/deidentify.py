"""What may be known of a person: keyed hashes of who, and a short list of DICOM tags about the picture.

Names, identifiers, dates, accession numbers and institutions never leave this module. Hashes are HMAC-BLAKE2b
under the secret patient key, so that two records of one patient can be seen to be one patient's and nobody
without the key can ask whose.
"""

from __future__ import annotations

import hmac
import re
from typing import Any

from components.records import NOT_STATED

KEY_DIGITS = 20
# DICOM keyword -> fact name. Only closed-vocabulary tags about the picture; free text (StudyDescription,
# SeriesDescription, comments) may hold a name, so it is not here: a card states such facts itself.
ALLOWED_TAGS = {
    "ViewPosition": "view",
    "PatientSex": "sex",
    "PatientAge": "age band",
    "ScanningSequence": "sequence",
    "Laterality": "laterality",
    "ImageLaterality": "laterality",
    "TransducerType": "transducer",
    "NumberOfFrames": "frames",
}
SEXES = {"M": "male", "F": "female"}
SEQUENCES = {"SE": "spin echo", "GR": "gradient echo", "IR": "inversion recovery", "EP": "echo planar"}
SIDES = {"L": "left", "R": "right", "B": "both"}
VIEWS = {"AP", "PA", "LL", "RL", "LLO", "RLO", "LPO", "RPO", "LAO", "RAO", "CC", "MLO", "ML", "LM", "LATERAL"}
SAFE_WORDS = re.compile(r"^[A-Z][A-Z ]{1,30}$")
AGE = re.compile(r"^(\d{1,3})([DWMY])$")


def keyed_hash(secret: bytes, *parts: str) -> str:
    """Return 20 hex digits of HMAC-BLAKE2b over the parts."""
    message = "\x1f".join(parts).encode()
    return hmac.new(secret, message, "blake2b").hexdigest()[:KEY_DIGITS]


def age_band(text: str) -> str:
    """Turn a DICOM age ("058Y") into its decade ("50-59 years"); ages of 90 and over are one band."""
    match = AGE.match(text.strip())
    if match is None:
        return NOT_STATED
    if match[2] != "Y":
        return "under 10 years"
    years = int(match[1])
    if years == 0:
        return NOT_STATED
    low = years // 10 * 10
    if years >= 90:
        return "90 years and over"
    return "under 10 years" if low == 0 else f"{low}-{low + 9} years"


def band_of_years(cell: str) -> str:
    """Turn an age in years as a table states it ("45", "45.0", "045Y") into its decade, or "" when it is none."""
    try:
        band = age_band(f"{int(float(cell.strip().upper().removesuffix('Y')))}Y")
    except (ValueError, OverflowError):
        return ""
    return "" if band == NOT_STATED else band


def header_facts(dataset: Any) -> dict[str, str]:
    """Return the facts that a DICOM header may tell, in plain words; nothing outside ALLOWED_TAGS is read."""
    facts: dict[str, str] = {}
    for keyword, name in ALLOWED_TAGS.items():
        value = _plain(keyword, str(dataset.get(keyword, "") or "").strip())
        if value not in ("", NOT_STATED):
            facts[name] = value
    return facts


def _plain(keyword: str, value: str) -> str:
    if keyword == "PatientAge":
        return age_band(value)
    if keyword == "NumberOfFrames":
        return value if value.isdecimal() and int(value) > 1 else ""
    if keyword == "ViewPosition":
        return value if value in VIEWS else ""
    if keyword == "TransducerType":
        return value.lower() if SAFE_WORDS.match(value) else ""
    tables = {"PatientSex": SEXES, "ScanningSequence": SEQUENCES}
    return tables.get(keyword, SIDES).get(value, "")
