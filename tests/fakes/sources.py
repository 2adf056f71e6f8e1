"""Tiny sources in their real layouts: NIfTI, NRRD, DICOM, TIFF, SVS, pictures; a few kilobytes each.

`BODY` is one asymmetrical patient, in LPS order: the liver lies on the patient's right (low first index), a
left kidney on the left, and the head is up (high last index).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from components.data.card import Card, parse_card
from components.data.catalog import find_reader
from components.data.reading import ReadContext, Rejection
from components.records import Record

CONTEXT = ReadContext(max_side=64, secret=b"test key")
LIVER, KIDNEY = 5, 3
BODY = np.full((24, 20, 12), -1000, dtype=np.int16)
BODY[3:21, 3:17, :] = 40
BODY_LABELS = np.zeros(BODY.shape, dtype=np.uint8)
BODY_LABELS[4:10, 5:11, 3:8] = LIVER
BODY_LABELS[16:19, 10:15, 2:6] = KIDNEY
BODY[BODY_LABELS == LIVER] = 110
BODY[BODY_LABELS == KIDNEY] = 180
SPACING = (2.0, 2.0, 4.0)
VOLUME_OPTIONS = {"planes": {"axial": 2, "coronal": 5}, "windows": ["soft tissue"], "background": -500}


def make_card(name: str, reader: str, options: dict[str, Any], **changes: Any) -> Card:
    """A complete card whose every field may be changed."""
    raw = {
        "name": name, "title": "A fake", "citation": "nobody", "url": "https://example.org", "revision": "1",
        "obtain": "make it", "licence": "CC0", "modality": "CT", "department": "General Surgery",
        "task": "Organ Recognition - Abdomen", "body_part": "abdomen", "language": "en", "reader": reader,
        "options": options, "patient": {"rule": "file"}, "split": {"rule": "fixed", "default": "train"},
        "terms": dict.fromkeys(
            ("may_leave_machine", "may_reach_third_party_model", "may_be_redistributed", "commercial_use"), "yes"
        ),
        "tolerance": 0.2, "num_samples": 0,
    }  # fmt: skip
    return parse_card({**raw, **changes}, where="test")


def read_all(root: Path, card: Card, context: ReadContext = CONTEXT) -> tuple[list[Record], list[Rejection]]:
    """Read a source whole; return its records and its rejections."""
    samples = list(find_reader(card.reader).read(root, card, context))
    return [s for s in samples if isinstance(s, Record)], [s for s in samples if isinstance(s, Rejection)]


def write_card(folder: Path, card: Card) -> Path:
    """Write a card's YAML file, as a person would."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.yaml"
    path.write_text(yaml.safe_dump(card.model_dump(mode="json")))
    return path


def lps_affine() -> np.ndarray:
    """The RAS affine of an array stored in LPS order."""
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = (20.0, 15.0, -30.0)
    return affine


def turn_array(array: np.ndarray, axes: str) -> tuple[np.ndarray, np.ndarray]:
    """Store an LPS array in another axis order, such as "RAS" or "SPL"; return it with its affine."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    transform = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(tuple(axes)))
    return apply_orientation(array, transform), lps_affine() @ inv_ornt_aff(transform, array.shape)


def write_nifti(path: Path, array: np.ndarray, axes: str = "LPS") -> None:
    import nibabel

    turned, affine = turn_array(array, axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(turned, affine), path)


def make_nifti_source(root: Path, axes: str = "LPS") -> Card:
    write_nifti(root / "ct.nii.gz", BODY, axes)
    write_nifti(root / "labels.nii.gz", BODY_LABELS, axes)
    (root / "names.csv").write_text(f"id,structure\n{LIVER},liver\n{KIDNEY},kidney_left\n")
    options = {
        **VOLUME_OPTIONS, "volume": "ct.nii.gz", "labels": "labels.nii.gz",
        "names": {"file": "names.csv", "code": "id", "name": "structure"},
    }  # fmt: skip
    terms = {"liver": "liver", "kidney_left": "left kidney", "spleen": "spleen"}
    return make_card("fake_ct", "nifti_labels", options, label_map=terms, patient={"rule": "source"})


def make_nrrd_source(root: Path) -> Card:
    import nrrd

    root.mkdir(parents=True, exist_ok=True)
    space = {
        "space": "left-posterior-superior", "space directions": np.diag(SPACING), "space origin": [-20.0, -15, -30]
    }  # fmt: skip
    nrrd.write(str(root / "ct.nrrd"), BODY, space)
    names = {
        "Segment0_LabelValue": str(LIVER), "Segment0_Name": "Liver",
        "Segment1_LabelValue": str(KIDNEY), "Segment1_Name": "left kidney",
    }  # fmt: skip
    nrrd.write(str(root / "ct.seg.nrrd"), BODY_LABELS, {**space, **names})
    options = {**VOLUME_OPTIONS, "volume": "ct.nrrd", "segments": "{folder}/{stem}.seg.nrrd"}
    return make_card(
        "fake_nrrd", "nrrd_segments", options, label_map={"Liver": "liver", "left kidney": "left kidney"}
    )


def write_dicom(path: Path, pixels: np.ndarray, *, kind: str = "MONOCHROME2", **tags: Any) -> None:
    """Write pixels (H, W), (N, H, W), (H, W, 3) or (N, H, W, 3) as an uncompressed DICOM file."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = tags.pop("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2")
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    is_colour = pixels.ndim >= 3 and pixels.shape[-1] == 3
    plane = pixels.shape[:-1] if is_colour else pixels.shape
    data.Rows, data.Columns = plane[-2:]
    if len(plane) == 3:
        data.NumberOfFrames = plane[0]
    bits = pixels.dtype.itemsize * 8
    data.SamplesPerPixel, data.PhotometricInterpretation = (3 if is_colour else 1), kind
    if is_colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.PixelData = np.ascontiguousarray(pixels).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path)


def make_rtstruct_source(root: Path, *, roi: str = "GTV-1") -> Card:
    """Two axial series; a square contour (4..9 columns, 5..10 rows) on slices 3 to 5 of the first."""
    for patient in ("pat_1", "pat_2"):
        for k in range(BODY.shape[2]):
            write_dicom(
                root / patient / f"IMG_{k:03d}.dcm", BODY[:, :, k].T, PatientID=f"SECRET-{patient}",
                PatientName="Doe^Jane", PixelSpacing=[SPACING[1], SPACING[0]], SliceThickness=SPACING[2],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[-20, -15, -30 + SPACING[2] * k],
            )  # fmt: skip
    write_rtstruct(root / "pat_1" / "RS.dcm", roi)
    options = {**VOLUME_OPTIONS, "series": "pat_*/*.dcm", "planes": {"axial": 1}}
    split = {"rule": "fixed", "default": "train", "assign": {"pat_2/*": "test"}}
    return make_card(
        "fake_rt", "dicom_rtstruct", options, label_map={"GTV-1": "lung tumour"}, split=split,
        patient={"rule": "dicom"},
    )  # fmt: skip


def write_rtstruct(path: Path, roi: str, series: str = "") -> None:
    """Write a square contour on slices 3 to 5; `series` is the SeriesInstanceUID it refers to."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    name, drawn = Dataset(), Dataset()
    name.ROINumber, name.ROIName = 1, roi
    drawn.ReferencedROINumber, drawn.ContourSequence = 1, [_contour(k) for k in (3, 4, 5)]
    if series:
        frame, study, referred = Dataset(), Dataset(), Dataset()
        referred.SeriesInstanceUID = series
        study.RTReferencedSeriesSequence, frame.RTReferencedStudySequence = [referred], [study]
        data.ReferencedFrameOfReferenceSequence = [frame]
    data.StructureSetROISequence, data.ROIContourSequence = [name], [drawn]
    data.save_as(path)


def _contour(k: int) -> Any:
    from pydicom.dataset import Dataset

    contour = Dataset()
    contour.ContourGeometricType = "CLOSED_PLANAR"
    corners = [(4, 5), (9, 5), (9, 10), (4, 10)]
    points = [(-20 + SPACING[0] * i, -15 + SPACING[1] * j, -30 + SPACING[2] * k) for i, j in corners]
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = [float(value) for point in points for value in point]
    return contour


def gradient(height: int = 32, width: int = 48) -> np.ndarray:
    """Grey (H, W) uint8, darker at the top left."""
    return ((np.arange(height)[:, None] * 3 + np.arange(width)[None] * 2) % 256).astype(np.uint8)


def make_instances_source(root: Path) -> Card:
    """One 64 x 64 picture with three objects; the third lies across the two right tiles' border."""
    import tifffile

    root.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((64, 64), dtype=np.uint16)
    mask[2:8, 2:8], mask[12:20, 10:20], mask[28:34, 40:50] = 1, 2, 3
    tifffile.imwrite(root / "cells.tif", (mask > 0).astype(np.uint16) * 300 + 10)
    tifffile.imwrite(root / "cells_mask.tif", mask)
    group = {"images": "cells.tif", "masks": "{stem}_mask.tif", "label": "nucleus", "side": 32, "stride": 32}
    options = {"groups": [{**group, "window": "full range"}]}
    return make_card(
        "fake_cells", "instance_mask", options, label_map={"nucleus": "cell nucleus"}, modality="Microscopy"
    )


def make_slide_source(root: Path) -> Card:
    """A tiled TIFF with an Aperio header: left half pink tissue, right half glass."""
    import tifffile

    root.mkdir(parents=True, exist_ok=True)
    pixels = np.full((64, 128, 3), 245, dtype=np.uint8)
    pixels[:, :64] = (200, 80, 150)
    described = "Aperio Image Library v1\n128x64 |AppMag = 20|MPP = 0.4990|User = doe"
    tifffile.imwrite(root / "slide.svs", pixels, tile=(32, 32), photometric="rgb", description=described)
    options = {"slides": "*.svs", "side": 32, "stride": 32, "min_tissue": 0.25}
    return make_card("fake_slide", "slide_tiles", options, modality="Pathology")


def make_captions_source(root: Path, caption: str = "A normal eye.") -> Card:
    root.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([gradient()] * 3, axis=2)).save(root / "eye.png")
    (root / "captions.csv").write_text(f'file,caption\neye.png,"{caption}"\n')
    picture = {"file": "eye.png", "labels": ["normal eye"], "tiles": {"side": 16, "stride": 16}}
    options = {
        "captions": "captions.csv", "file_column": "file", "text_column": "caption", "pictures": [picture]
    }  # fmt: skip
    return make_card("fake_captions", "captioned_images", options, vocabulary=["normal eye"], modality="Fundus")


def make_pairs_source(root: Path) -> Card:
    for number, folder in enumerate(("Same", "Other")):
        (root / folder).mkdir(parents=True)
        for pair in range(3):
            for letter in "ab":
                shade = gradient(16, 16) // 2 + 20 * number + pair + 40 * (letter == "b")
                Image.fromarray(shade.astype(np.uint8)).save(root / folder / f"p{pair}{letter}.bmp")
    options = {"classes": {"Same": "same texture", "Other": "different texture"}}
    return make_card(
        "fake_pairs", "image_pairs", options, modality="Dermoscopy", patient={"rule": "source"}, body_part="skin"
    )


def make_plain_source(root: Path) -> Card:
    import nibabel

    root.mkdir(parents=True, exist_ok=True)
    series = np.stack([BODY + 1000, BODY + 1100], axis=-1)
    nibabel.save(nibabel.Nifti1Image(series, lps_affine()), root / "bold.nii.gz")
    np.save(root / "slice.npy", gradient().astype(np.float32))
    options = {
        "groups": [
            {"files": "bold.nii.gz", "planes": {"axial": 4}, "windows": ["percentile 1-99"]},
            {"files": "slice.npy", "planes": {"coronal": 1}, "windows": ["full range"], "array_plane": "coronal"},
        ]
    }
    return make_card("fake_plain", "plain_volumes", options, modality="MR")


def make_headers_source(root: Path, **tags: Any) -> Card:
    write_dicom(root / "still.dcm", gradient().astype(np.int16), **tags)
    options = {"files": [{"file": "still.dcm", "window": "full range"}]}
    return make_card("fake_headers", "dicom_headers", options)


MAKERS = (
    make_nifti_source, make_nrrd_source, make_rtstruct_source, make_instances_source, make_slide_source,
    make_captions_source, make_pairs_source, make_plain_source, make_headers_source,
)  # fmt: skip


def make_everything(root: Path) -> Iterator[Card]:
    """Make one source of every format below a data root."""
    for maker in MAKERS:
        card = maker(root / "aside")
        (root / "aside").rename(root / card.name)
        yield card
