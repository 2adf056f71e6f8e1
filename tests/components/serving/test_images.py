import io
import struct
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from components.errors import DataError
from components.serving import images
from components.serving.images import open_image


def dicom(pixels: np.ndarray, *, modality: str = "MR", kind: str = "MONOCHROME2", **more) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Modality, dataset.PhotometricInterpretation = modality, kind
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored = 1, 16, 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels.astype("<i2").tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def test_png_and_jpeg_become_rgb(png: bytes) -> None:
    buffer = io.BytesIO()
    Image.new("L", (7, 5), 90).save(buffer, "JPEG")
    assert open_image(png).size == (20, 10)
    assert open_image(png).getpixel((0, 0)) == (200, 30, 30)
    assert open_image(buffer.getvalue()).mode == "RGB"


def test_ct_is_shown_in_the_soft_tissue_window() -> None:
    # 40 +- 200 HU: -160 is black, 240 is white; stored values are HU + 1000
    stored = np.array([[840, 1240, 1040, 0]], dtype=np.int16)
    picture = open_image(dicom(stored, modality="CT", RescaleSlope=1, RescaleIntercept=-1000))
    grey = [picture.getpixel((column, 0))[0] for column in range(4)]
    assert (grey[0], grey[1], grey[3]) == (0, 255, 0)
    assert abs(grey[2] - 128) <= 1


def test_monochrome1_is_inverted_and_a_cine_gives_its_middle_frame() -> None:
    ramp = np.arange(1, 101).reshape(10, 10)
    bright, dark = (open_image(dicom(ramp, kind=kind)) for kind in ("MONOCHROME2", "MONOCHROME1"))
    assert bright.getpixel((9, 9))[0] > bright.getpixel((0, 0))[0]
    assert dark.getpixel((9, 9))[0] < dark.getpixel((0, 0))[0]
    cine = np.stack([np.full((4, 4), 10), np.full((4, 4), 500), np.full((4, 4), 1000)])
    assert 100 < open_image(dicom(cine)).getpixel((0, 0))[0] < 155


def test_a_mirrored_projection_is_turned() -> None:
    ramp = np.tile(np.arange(1, 9), (8, 1))
    plain, mirrored = (open_image(dicom(ramp, PatientOrientation=side)) for side in (["L", "F"], ["R", "F"]))
    assert plain.getpixel((7, 0)) == mirrored.getpixel((0, 0))


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a" + b"\0" * 300, b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\xff\xd8\xff\xe0junk"],
)
def test_other_formats_and_broken_files_are_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        open_image(content)


def test_a_dicom_without_or_with_cut_pixels_is_refused() -> None:
    whole = dicom(np.ones((8, 8)))
    with pytest.raises(DataError, match="does not decode"):
        open_image(whole[:-40])
    with pytest.raises(DataError, match="does not decode"):
        open_image(b"\0" * 128 + b"DICM" + b"\xff" * 100)


def test_size_is_checked_before_pixels_are_decoded(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(DataError):
        open_image(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND\xaeB`\x82")
    with pytest.raises(DataError, match="pixels"):
        open_image(dicom(np.ones((8, 8)), NumberOfFrames=2_000_000))
    monkeypatch.setattr(images, "LARGEST_FILE_BYTES", 10)
    with pytest.raises(DataError, match="bytes"):
        open_image(png)
