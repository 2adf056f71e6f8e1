"""What may be known of a person: keyed hashes of who, and a short list of DICOM tags about the picture.

Names, identifiers, dates, accession numbers and institutions never leave this module: a header is put under the
Basic profile of DICOM PS3.15 first, and of what that leaves only the listed tags are read. Hashes are HMAC-BLAKE2b
under the secret patient key, so that two records of one patient can be seen to be one patient's and nobody
without the key can ask whose.
"""

from __future__ import annotations

import hmac
import re
from functools import lru_cache
from typing import Any

from components.records import NOT_STATED

PROFILE = "DICOM PS3.15 Annex E, Basic Application Level Confidentiality Profile"
EDITION = "2026c"
OPTIONS = ("Retain Patient Characteristics Option",)
# What that option keeps (PS3.15 table E.1-1) and this module reads; the age goes on as a decade alone.
RETAINED = ("PatientSex", "PatientAge")

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


def under_profile(dataset: Any) -> Any:
    """Return the ALLOWED_TAGS of a header under the Basic profile, as a new Dataset; the given one stays.

    Nothing else of the header is copied, so sequences, private elements, dates and UIDs need no action of theirs;
    a tag that somebody adds to the list and that the profile removes or replaces is not told either.
    """
    from dicomanonymizer.simpledicomanonymizer import anonymize_dataset
    from pydicom import Dataset

    kept = Dataset()
    for keyword in ALLOWED_TAGS:
        if keyword in dataset:
            kept[keyword] = dataset[keyword]
    anonymize_dataset(kept, base_rules_gen=_actions)
    return kept


def profile_stamp() -> dict[str, Any]:
    """Return what was applied to every header: profile, its edition and options, and the library that did it."""
    from importlib.metadata import version

    library = f"dicom-anonymizer {version('dicom-anonymizer')}"
    return {"profile": PROFILE, "edition": EDITION, "options": list(OPTIONS), "library": library}


def _actions() -> dict[Any, Any]:
    return dict(_profile_actions())


@lru_cache(maxsize=1)
def _profile_actions() -> dict[Any, Any]:
    """The profile's action of each tag; what it would replace by a dummy is deleted: a dummy is no fact."""
    from dicomanonymizer.simpledicomanonymizer import delete, initialize_actions, keep
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    actions = dict.fromkeys(initialize_actions(f"dicomfields_{EDITION}"), delete)
    retained = (Tag(tag_for_keyword(keyword) or 0) for keyword in RETAINED)
    return actions | {(tag.group, tag.element): keep for tag in retained}


def header_facts(dataset: Any) -> dict[str, str]:
    """Return the facts that a DICOM header may tell, in plain words; nothing outside ALLOWED_TAGS is read."""
    facts: dict[str, str] = {}
    header = under_profile(dataset)
    for keyword, name in ALLOWED_TAGS.items():
        value = _plain(keyword, str(header.get(keyword, "") or "").strip())
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
