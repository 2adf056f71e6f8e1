"""Tiny sources in the published layouts of volumes, DICOM series and annotated slides, of the one BODY.

Every layout shows the same patient (tests/fakes/sources.py), so that the golden boxes below hold for all.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.data.card import Card
from components.records import stable_id
from tests.fakes.sources import (
    BODY,
    BODY_LABELS,
    KIDNEY,
    LIVER,
    SPACING,
    VOLUME_OPTIONS,
    lps_affine,
    make_card,
    write_dicom,
    write_nifti,
)

ORGANS = {"liver": "liver", "kidney_left": "left kidney", "spleen": "spleen"}
LABEL_NAMES = {LIVER: "liver", KIDNEY: "kidney_left"}
# Axial slices have 20 rows and 24 columns: (left, top, right, bottom) of voxels 4-9 x 5-10 and 16-18 x 10-14.
LIVER_BOX = (4 / 24, 5 / 20, 10 / 24, 11 / 20)
KIDNEY_BOX = (16 / 24, 10 / 20, 19 / 24, 15 / 20)
CASES = ("001", "002")


def options_of(**changes: Any) -> dict[str, Any]:
    return {**VOLUME_OPTIONS, "planes": {"axial": 1}, "label_names": LABEL_NAMES, **changes}


def make_decathlon_source(root: Path, axes: str = "RAS") -> Card:
    """imagesTr/case_0000.nii.gz beside labelsTr/case.nii.gz, as in the Medical Segmentation Decathlon."""
    for case in CASES:
        write_nifti(root / "imagesTr" / f"ct_{case}_0000.nii.gz", BODY, axes)
        write_nifti(root / "labelsTr" / f"ct_{case}.nii.gz", BODY_LABELS, axes)
    options = options_of(images=[{"path": "imagesTr/{case}_0000.nii.gz"}], labels="labelsTr/{case}.nii.gz")
    return make_card("fake_decathlon", "nifti_cases", options, label_map=ORGANS)


def make_sequences_source(root: Path) -> Card:
    """HGG/case/case_flair.nii.gz and _t1 beside case_seg.nii.gz, as in BraTS; the folder is the grade."""
    for grade, case in (("HGG", "Brats_1"), ("LGG", "Brats_2")):
        for sequence, shade in (("flair", 0), ("t1", 50)):
            write_nifti(root / grade / case / f"{case}_{sequence}.nii.gz", np.maximum(BODY, -1000) + 1000 + shade)
        write_nifti(root / grade / case / f"{case}_seg.nii.gz", BODY_LABELS)
    image = "{grade}/{case}/{case}_%s.nii.gz"
    options = options_of(
        images=[
            {"path": image % "flair", "sequence": "FLAIR"},
            {"path": image % "t1", "sequence": "T1-weighted", "windows": ["full range"]},
        ],
        labels="{folder}/{case}_seg.nii.gz", class_from="{grade}", background=100, windows=["percentile 1-99"],
    )  # fmt: skip
    terms = {**ORGANS, "HGG": "high-grade glioma", "LGG": "low-grade glioma"}
    rule = {"rule": "pattern", "pattern": "(Brats_[0-9]+)/"}
    return make_card("fake_brats", "nifti_cases", options, label_map=terms, modality="MR", patient=rule)


def make_mask_files_source(root: Path) -> Card:
    """case/ct.nii.gz beside case/segmentations/LABEL.nii.gz, as in TotalSegmentator."""
    write_nifti(root / "s0001" / "ct.nii.gz", BODY)
    for label, code in (("liver", LIVER), ("kidney_left", KIDNEY)):
        write_nifti(
            root / "s0001" / "segmentations" / f"{label}.nii.gz", (code == BODY_LABELS).astype(np.uint8), "RAS"
        )
    options = options_of(images=[{"path": "{case}/ct.nii.gz"}], masks="{case}/segmentations/{label}.nii.gz")
    return make_card("fake_masks", "nifti_cases", options, label_map=ORGANS)


def make_bids_source(root: Path) -> Card:
    """sub-*/ses-*/anat/*_T1w.nii.gz with participants.tsv."""
    for case in ("01", "02"):
        folder = root / f"sub-{case}" / "ses-1" / "anat"
        write_nifti(folder / f"sub-{case}_ses-1_T1w.nii.gz", BODY + 1000)
    (root / "participants.tsv").write_text(
        "participant_id\tsex\tage\tgroup\nsub-01\tF\t63.5\tAD\nsub-02\tM\t95\tn/a\n"
    )
    table = {
        "file": "participants.tsv", "key": "participant_id", "matches": "sub-{case}", "sex": "sex", "age": "age",
        "label": "group",
    }  # fmt: skip
    image = "sub-{case}/**/sub-{case}_*T1w.nii.gz"
    options = options_of(
        images=[{"path": image, "sequence": "T1-weighted"}], table=table, planes={"sagittal": 4}, label_names={},
        windows=["percentile 1-99"], background=100,
    )  # fmt: skip
    terms = {"AD": "Alzheimer disease"}
    return make_card("fake_bids", "nifti_cases", options, label_map=terms, modality="MR")


def make_metaimage_source(root: Path) -> Card:
    """case.mhd with case.raw beside case_segmentation.mha, as in PROMISE12 and LUNA16."""
    for case in CASES:
        write_metaimage(root / f"{case}.mhd", BODY)
        write_metaimage(root / f"{case}_segmentation.mha", BODY_LABELS, compressed=True)
    options = options_of(images=[{"path": "{case:[0-9]+}.mhd"}], labels="{case}_segmentation.mha")
    return make_card("fake_meta", "nifti_cases", options, label_map=ORGANS)


def write_metaimage(path: Path, array: np.ndarray, *, compressed: bool = False, **header: str) -> None:
    """Write an LPS array as .mha (data inside) or .mhd (data in a .raw beside it)."""
    kinds = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT"}
    data = array.tobytes(order="F")
    data = zlib.compress(data) if compressed else data
    is_local = path.suffix == ".mha"
    lines = {
        "ObjectType": "Image", "NDims": str(array.ndim), "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False", "CompressedData": str(compressed),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "-20 -15 -30",
        "ElementSpacing": " ".join(map(str, SPACING)), "DimSize": " ".join(map(str, array.shape)),
        "ElementType": kinds[array.dtype.name], **header,
        "ElementDataFile": "LOCAL" if is_local else f"{path.stem}.raw",
    }  # fmt: skip
    text = "".join(f"{key} = {value}\n" for key, value in lines.items() if value).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text + data if is_local else text)
    if not is_local:
        path.with_suffix(".raw").write_bytes(data)


def write_plain_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None, code: int = 1) -> None:
    """Write an array as it is, with any affine and either orientation code."""
    import nibabel

    image = nibabel.Nifti1Image(array, lps_affine() if affine is None else affine)
    image.set_sform(image.affine, code)
    image.set_qform(None, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def write_series(folder: Path, series: str, array: np.ndarray = BODY, **tags: Any) -> None:
    """Write an LPS array as one axial CT series, a file a slice; `series` makes all its identifiers."""
    for k in range(array.shape[2]):
        place = {
            "PixelSpacing": [SPACING[1], SPACING[0]], "SliceThickness": SPACING[2], "InstanceNumber": k + 1,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [-20, -15, -30 + SPACING[2] * k],
        }  # fmt: skip
        told = {**identity(series, k), **place, "Modality": "CT", **tags}
        write_dicom(folder / f"1-{k + 1:03d}.dcm", array[:, :, k].T, **told)


def identity(series: str, number: int = 0) -> dict[str, str]:
    """Identifiers made of a name: the part before its dot is the patient and the study."""
    patient = series.partition(".")[0]
    root = "1.2.826.0.1." + ".".join(str(int(stable_id(word), 16) % 10**9) for word in (patient, series))
    return {
        "PatientID": f"SECRET-{patient}", "PatientName": "Doe^Jane", "StudyInstanceUID": f"{root}.1",
        "SeriesInstanceUID": f"{root}.2", "SOPInstanceUID": f"{root}.3.{number}",
    }  # fmt: skip


def make_series_source(root: Path) -> Card:
    """patient/study/series/*.dcm as TCIA hands them out, two series of one study, and a table of classes."""
    write_series(root / "P-1" / "study" / "thin", "P-1.thin")
    write_series(root / "P-1" / "study" / "late", "P-1.late", BODY[:, ::-1], Modality="PT", RescaleSlope=0.5)
    write_series(root / "P-2" / "study" / "thin", "P-2.thin")
    (root / "classes.csv").write_text("patient,finding\nSECRET-P-1,tumour\nSECRET-P-2,n/a\n")
    table = {"file": "classes.csv", "key": "patient", "matches": "{patient_id}", "label": "finding"}
    options = {
        **VOLUME_OPTIONS,
        "files": "{patient}/**/*.dcm",
        "planes": {"axial": 1, "coronal": 5},
        "table": table,
    }
    options |= {"modality_from_header": True}
    return make_card(
        "fake_series", "dicom_series", options, label_map={"tumour": "liver tumour"}, patient={"rule": "dicom"}
    )


def write_enhanced(path: Path, array: np.ndarray = BODY, **tags: Any) -> None:
    """Write an LPS array as one enhanced CT file, a frame a slice, the places in its functional groups."""
    from pydicom.dataset import Dataset

    measures, standing, change, shared = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
    standing.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    change.RescaleSlope, change.RescaleIntercept = 1, -5
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [standing]
    shared.PixelValueTransformationSequence = [change]
    frames = [_frame_group(k) for k in range(array.shape[2])]
    told = {**identity(path.stem), "Modality": "CT", "SharedFunctionalGroupsSequence": [shared]}
    told |= {"PerFrameFunctionalGroupsSequence": frames, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1", **tags}
    write_dicom(path, np.ascontiguousarray(array.transpose(2, 1, 0)), **told)


def _frame_group(k: int) -> Any:
    from pydicom.dataset import Dataset

    place, group = Dataset(), Dataset()
    place.ImagePositionPatient = [-20, -15, -30 + SPACING[2] * k]
    group.PlanePositionSequence = [place]
    return group


def make_seg_source(root: Path, **tags: Any) -> Card:
    """A CT series, a SEG of its liver and left kidney, and a series to which nothing refers."""
    write_series(root / "P-1" / "ct", "P-1.ct")
    write_series(root / "P-2" / "ct", "P-2.ct")
    write_seg(root / "P-1" / "seg" / "1-1.dcm", "P-1.ct", BODY_LABELS, **tags)
    options = {**VOLUME_OPTIONS, "files": "**/*.dcm", "planes": {"axial": 1, "coronal": 5}}
    terms = {"Liver": "liver", "Kidney, Left": "left kidney", "Spleen": "spleen"}
    return make_card("fake_seg", "dicom_seg", options, label_map=terms, patient={"rule": "dicom"})


SEGMENTS = ((LIVER, "10200004", "Liver", ""), (KIDNEY, "64033007", "Kidney", "Left"))


def write_seg(path: Path, series: str, labels: np.ndarray, kind: str = "BINARY", **tags: Any) -> None:
    """Write a SEG with a frame for every slice a segment fills (LABELMAP: every slice)."""
    from pydicom.dataset import Dataset

    numbers = {code: number for number, (code, *_) in enumerate(SEGMENTS, start=1)}
    numbered = np.vectorize(lambda code: numbers.get(int(code), 0))(labels).astype(np.uint8)
    shown = [(0, k) for k in range(labels.shape[2])] if kind == "LABELMAP" else [
        (n, k) for n in numbers.values() for k in range(labels.shape[2]) if (numbered[:, :, k] == n).any()
    ]  # fmt: skip
    scale = {"BINARY": 1, "FRACTIONAL": 200, "LABELMAP": 1}[kind]
    cuts = [numbered[:, :, k] if n == 0 else (numbered[:, :, k] == n) * scale for n, k in shown]
    referred, shared, standing = Dataset(), Dataset(), Dataset()
    referred.SeriesInstanceUID = identity(series)["SeriesInstanceUID"]
    standing.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PlaneOrientationSequence = [standing]
    told = {
        **identity(f"{series}-seg"),
        "Modality": "SEG",
        "SegmentationType": kind,
        "MaximumFractionalValue": 200,
    }
    told |= {"ReferencedSeriesSequence": [referred], "SharedFunctionalGroupsSequence": [shared]}
    told |= {"SegmentSequence": [_segment(n, *words) for n, (_, *words) in enumerate(SEGMENTS, start=1)]}
    told |= {"PerFrameFunctionalGroupsSequence": [_seg_group(n, k) for n, k in shown]}
    told |= {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", **tags}
    write_dicom(path, np.stack([cut.T for cut in cuts]).astype(np.uint8), **told)


def _segment(number: int, value: str, meaning: str, side: str) -> Any:
    from pydicom.dataset import Dataset

    segment, code, modifier = Dataset(), Dataset(), Dataset()
    segment.SegmentNumber, segment.SegmentLabel = number, f"Doe {meaning} {number}"
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    if side:
        modifier.CodeValue, modifier.CodingSchemeDesignator, modifier.CodeMeaning = "7771000", "SCT", side
        code.SegmentedPropertyTypeModifierCodeSequence = [modifier]
    segment.SegmentedPropertyTypeCodeSequence = [code]
    return segment


def _seg_group(number: int, k: int) -> Any:
    from pydicom.dataset import Dataset

    group, which = _frame_group(k), Dataset()
    which.ReferencedSegmentNumber = number
    if number:
        group.SegmentIdentificationSequence = [which]
    return group


def write_slide(path: Path, pixels: np.ndarray, *, levels: int = 1, tile: int | None = 32) -> None:
    """Write one level as Aperio describes it, or a plain pyramid, each level half the one before."""
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    kind: dict[str, Any] = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack"}
    kind |= {"tile": (tile, tile)} if tile else {"rowsperstrip": 16}
    with tifffile.TiffWriter(path) as slide:
        told = "Aperio Image Library v1\n|AppMag = 40|MPP = 0.25|User = doe" if levels == 1 else ""
        slide.write(pixels, subifds=levels - 1, description=told, metadata=None, **kind)
        for level in range(1, levels):
            slide.write(pixels[:: 2**level, :: 2**level], subfiletype=1, metadata=None, **kind)


def tissue(height: int = 128, width: int = 256) -> np.ndarray:
    """Pink tissue with a gradient on the left three quarters, glass on the right."""
    pixels = np.full((height, width, 3), 245, dtype=np.uint8)
    pixels[:, : width * 3 // 4] = (200, 80, 150)
    pixels[:, : width * 3 // 4, 2] = np.arange(height)[:, None] + 60
    return pixels


# A tumour from (70, 10) to (130, 50), within it a part that is none, from (90, 20) to (110, 40); (x, y) in pixels.
TUMOUR, EXCLUDED = ((70, 10), (130, 10), (130, 50), (70, 50)), ((90, 20), (110, 20), (110, 40), (90, 40))


def write_asap(path: Path, **groups: Any) -> None:
    """Write ASAP XML; each keyword is a group and its value an outline."""
    drawn = "".join(
        f'<Annotation Name="a" PartOfGroup="{group}" Type="Polygon"><Coordinates>'
        + "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(outline))
        + "</Coordinates></Annotation>"
        for group, outline in groups.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<?xml version='1.0'?><ASAP_Annotations><Annotations>{drawn}</Annotations></ASAP_Annotations>"
    )


def make_slides_source(root: Path) -> Card:
    """Camelyon16: tumor and normal folders of slides, ASAP XML for the tumour ones, _2 cut out of _0."""
    write_slide(root / "tumor" / "tumor_001.tif", tissue())
    write_slide(root / "normal" / "normal_001.tif", tissue()[:, ::-1])
    write_asap(root / "annotations" / "tumor_001.xml", _0=TUMOUR, _2=EXCLUDED)
    options = {
        "slides": "{kind:tumor|normal}/{slide}.tif", "annotations": "annotations/{slide}.xml", "side": 64,
        "stride": 64, "min_tissue": 0.25, "class_from": "{kind}", "region_labels": ["_0", "_1"], "erase": ["_2"],
        "complete": True, "unannotated": "empty",
    }  # fmt: skip
    terms = {
        "_0": "metastasis",
        "_1": "metastasis",
        "tumor": "metastatic lymph node",
        "normal": "normal lymph node",
    }
    return make_card("fake_slides", "slide_annotations", options, label_map=terms, modality="Pathology")


CASE_MAKERS = (
    make_decathlon_source, make_sequences_source, make_mask_files_source, make_bids_source, make_metaimage_source,
)  # fmt: skip


def changed(card: Card, options: Mapping[str, Any] | None = None, **fields: Any) -> Card:
    """The same card with other options or fields."""
    return card.model_copy(update={"options": {**card.options, **(options or {})}, **fields})
