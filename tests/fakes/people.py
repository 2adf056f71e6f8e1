"""Two protected sources in which a person stands everywhere: headers, file names, tables, reports, pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.data.card import Card
from tests.fakes.formats_volumes import write_series
from tests.fakes.sources import BODY, make_card, write_dicom

NOT_STATED = dict.fromkeys(
    ("may_leave_machine", "may_reach_third_party_model", "may_be_redistributed", "commercial_use"), "not stated"
)
HEADER = {
    "PatientName": "Quartermaine^Zebulon", "PatientID": "ID77SECRET", "OtherPatientIDs": "OTHER8842",
    "PatientBirthDate": "19311224", "PatientAddress": "7 Elmwynd Street", "InstitutionName": "Saintnowhere",
    "ReferringPhysicianName": "Strangelove^Ambrose", "AccessionNumber": "ACC90210", "StudyDate": "20010911",
    "StudyTime": "081544", "StudyDescription": "Thorax of Quartermaine", "PatientComments": "lives in Gothamville",
    "StationName": "STATION9K", "StudyID": "STUDY4711", "DeviceSerialNumber": "SER31337",
    "StudyInstanceUID": "1.2.826.0.1.77001.1", "SeriesInstanceUID": "1.2.826.0.1.77001.2",
    "FrameOfReferenceUID": "1.2.826.0.1.77001.9", "SpecificCharacterSet": "ISO_IR 100", "PatientSex": "M",
    "PatientAge": "093Y", "ViewPosition": "for Mr Quartermaine",
}  # fmt: skip
REPORT = (
    "Dr. Ambrose Strangelove reports on Zebulon^Quartermaine (MRN: MRN5551212), aged 93, seen on 11 September 2001"
    " and 2001-09-11 at 7 Elmwynd Street, telephone (555) 014-7788, z.quartermaine@gothamville.org,"
    " see https://gothamville.org/zebulon. {view} view {number}: the lungs are clear and the heart is normal."
)
PRIVATE_VALUE, WORDS_IN_PIXELS = "PRIVATEVALUE606", "QUARTERMAINE 77001"
# Every text below must be found nowhere; in lower case.
PLANTED = (
    "quartermaine", "zebulon", "id77secret", "other8842", "19311224", "elmwynd", "saintnowhere",
    "strangelove", "ambrose", "acc90210", "20010911", "081544", "gothamville", "station9k", "study4711",
    "ser31337", "1.2.826.0.1.77001", "privatevalue606", "mrn5551212", "014-7788", "11 september 2001",
    "2001-09-11", "093y", "roi_zeb", "ward9",
)  # fmt: skip


def make_scans(root: Path) -> Card:
    """DICOM series below a folder of the patient's name: a CT, stills one of which shows a name, a broken file."""
    for number, patient in enumerate(("PAT_ZEBULON_QUARTERMAINE", "PAT_ROI_ZEB", "PAT_WARD9")):
        body = np.roll(BODY, number, axis=0)
        uid = {"SeriesInstanceUID": f"1.2.826.0.1.77001.2.{number}", "PatientID": f"ID77SECRET{number}"}
        write_series(root / patient / "20010911_CT", f"x.{number}", body, **HEADER | uid)
    for number, words in enumerate((WORDS_IN_PIXELS, "", "", "")):
        uid = "1.2.826.0.1.77001"
        told = {"SOPInstanceUID": f"{uid}.4.{number}", "SeriesInstanceUID": f"{uid}.5.{number}"}
        path = root / "PAT_ZEBULON_QUARTERMAINE" / f"zebulon_{number}" / f"QUARTERMAINE^{number}.dcm"
        write_dicom(path, still(number, words), Modality="DX", **HEADER | told)
        with_private(path)
    (root / "PAT_ZEBULON_QUARTERMAINE" / "zebulon_cut.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 40)
    options = {
        "files": "{patient}/**/*.dcm", "planes": {"axial": 1}, "windows": ["soft tissue"], "background": -500,
        "classes": ["abdomen scan"],
    }  # fmt: skip
    held_out = {"PAT_WARD9/*": "test", "PAT_ROI_ZEB/*": "validation"}
    split = {"rule": "fixed", "default": "train", "assign": held_out}
    return make_card(
        "ward_scans", "dicom_series", options, vocabulary=["abdomen scan"], patient={"rule": "dicom"}, split=split,
        terms=NOT_STATED, tolerance=0.9,
    )  # fmt: skip


def still(number: int, words: str) -> np.ndarray:
    """Noise on a ramp, with words in large letters when there are some."""
    rng = np.random.default_rng(number)
    noise = (rng.random((300, 360)) * 60 + np.linspace(0, 120, 360)[None]).astype(np.uint8)
    picture = Image.fromarray(noise)
    ImageDraw.Draw(picture).text((20, 20 + 40 * number), words, fill=255, font=ImageFont.load_default(26))
    return np.asarray(picture)


def with_private(path: Path) -> None:
    """Add a private element that holds a name."""
    import pydicom

    data = pydicom.dcmread(path)
    data.private_block(0x0099, "ZEBULON WORKS", create=True).add_new(1, "LO", PRIVATE_VALUE)
    data.save_as(path)


def make_reports(root: Path) -> Card:
    """A table of reports on images in the patient's folder; one row's image is missing."""
    rows = []
    for number in range(12):
        name = f"PAT_ZEBULON_QUARTERMAINE/ACC90210_{number}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(still(number + 50, "")).save(root / name)
        report = REPORT.format(view=("Frontal", "Lateral")[number % 2], number=number)
        rows.append({"image": name, "report": report, "mrn": f"MRN5551212{number}", "id": f"ACC90210-{number}"})
    rows.append({"image": "PAT_ZEBULON_QUARTERMAINE/gone.png", "report": "Lost.", "mrn": "MRN5551212", "id": "x"})
    (root / "zebulon.json").write_text(json.dumps(rows))
    published = {
        "layout": "table", "tables": [{"file": "zebulon.json"}], "image": "{image}", "report": "report",
        "id": "id", "patient": "mrn",
    }  # fmt: skip
    return make_card(
        "ward_reports", "report_tables", {"published": published}, patient={"rule": "column"}, modality="X-ray",
        body_part="chest", terms=NOT_STATED, tolerance=0.9,
    )  # fmt: skip
