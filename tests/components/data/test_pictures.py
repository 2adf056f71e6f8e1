"""Pictures of every depth and colour space, damaged ones, and what tables and lists say of them."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from components.data.faults import Refused
from components.data.image import open_pixels
from components.data.mask_codes import MaskCoding, parse_colour, read_marks
from components.data.pictures import PictureOptions, open_gallery, open_picture, read_pixels
from components.data.reading import UNREADABLE, Draft, Rejection, reason_of
from components.errors import CardInvalid, DatasetMissing
from tests.fakes.formats_labels import label_card, rectangle, save, shade
from tests.fakes.sources import gradient, write_dicom

DEEP = gradient().astype(np.uint16) * 100


def reason(call, *arguments):
    with pytest.raises(UNREADABLE) as caught:
        call(*arguments)
    return reason_of(caught.value)


def bomb(path, side=60_000):
    """A PNG whose header promises more pixels than anybody should decode."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def colour(mode):
    return Image.fromarray(np.stack([shade(0), shade(1), shade(2)], axis=2)).convert(mode)


@pytest.mark.parametrize(
    ("mode", "name", "shape"),
    [
        ("L", "a.png", (30, 40)), ("1", "a.png", (30, 40)), ("LA", "a.png", (30, 40)),
        ("RGB", "a.bmp", (30, 40, 3)), ("RGBA", "a.png", (30, 40, 3)), ("P", "a.gif", (30, 40, 3)),
        ("CMYK", "a.jpg", (30, 40, 3)), ("CMYK", "a.tif", (30, 40, 3)), ("YCbCr", "a.jpg", (30, 40, 3)),
    ],
)  # fmt: skip
def test_every_colour_space_becomes_eight_bit_grey_or_rgb(mode, name, shape, tmp_path):
    colour(mode).save(tmp_path / name)
    pixels, window = open_picture(tmp_path / name, "full range")
    assert (pixels.dtype, pixels.shape, window) == (np.uint8, shape, "stored")


def test_cmyk_keeps_its_colours(tmp_path):
    red = Image.new("RGB", (8, 8), (200, 30, 30)).convert("CMYK")
    red.save(tmp_path / "a.tif")
    assert np.abs(open_picture(tmp_path / "a.tif", "full range")[0].astype(int) - (200, 30, 30)).max() <= 2


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_deep_grey_goes_through_the_named_window(name, tmp_path):
    Image.fromarray(DEEP).save(tmp_path / name)
    pixels, window = open_picture(tmp_path / name, "full range")
    assert window == "full range" and pixels.min() == 0 and pixels.max() == 255
    assert open_picture(tmp_path / name, "percentile 1-99")[1] == "percentile 1-99"
    assert np.array_equal(read_pixels(tmp_path / name), DEEP)


def test_sixteen_bit_colour_goes_through_the_window_too(tmp_path):
    import imagecodecs
    import tifffile

    deep = np.stack([DEEP, DEEP // 2, DEEP // 4], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    pixels, window = open_picture(tmp_path / "a.tif", "full range")
    assert (pixels.shape, window) == ((32, 48, 3), "full range")
    assert pixels[..., 0].max() == 255 and pixels[..., 1].max() == 128
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    again, window = open_picture(tmp_path / "a.png", "full range")
    assert np.array_equal(again, pixels) and window == "full range"


def test_dicom_is_a_picture_and_monochrome1_is_inverted(tmp_path):
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        write_dicom(tmp_path / f"{kind}.dcm", DEEP.astype(np.int16), kind=kind, PatientName="Doe^Jane")
    (bright, window), (dark, _) = (
        open_picture(tmp_path / f"MONOCHROME{number}.dcm", "full range") for number in (2, 1)
    )
    assert window == "full range" and np.abs(bright.astype(int) + dark - 255).max() <= 1
    write_dicom(tmp_path / "many.dcm", np.zeros((3, 8, 8), dtype=np.int16))
    assert reason(open_picture, tmp_path / "many.dcm", "full range") == "image_not_a_picture"


def test_values_that_are_no_numbers_are_refused(tmp_path):
    holed = DEEP.astype(np.float32)
    holed[3, 3] = np.nan
    Image.fromarray(holed).save(tmp_path / "a.tif")
    assert reason(open_picture, tmp_path / "a.tif", "full range") == "pixels_not_finite"


@pytest.mark.parametrize("read", [open_pixels, read_pixels])
def test_bad_files_have_their_reasons(read, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"this is no picture" * 9)
    whole = save(tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) * 2 // 3])
    assert reason(read, tmp_path / "empty.png") == "file_empty"
    assert reason(read, tmp_path / "text.png") == "file_unreadable"
    assert reason(read, tmp_path / "cut.png") == "file_truncated"
    assert reason(read, tmp_path / "absent.png") == "file_missing"
    assert reason(read, bomb(tmp_path / "bomb.png")) == "image_too_large"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.gif", "a.bmp", "a.webp", "a.dcm", "b.tif"])
def test_no_damage_to_a_file_raises_anything_unexpected(name, tmp_path):
    if name == "a.dcm":
        write_dicom(tmp_path / name, DEEP.astype(np.int16))
    elif name == "b.tif":
        Image.fromarray(DEEP).save(tmp_path / name, compression="tiff_lzw")
    else:
        save(tmp_path / name)
    whole, drawn = (tmp_path / name).read_bytes(), np.random.default_rng(0)
    reasons = set()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in drawn.integers(0, len(whole), 4):
            damaged[place] = drawn.integers(0, 256)
        (tmp_path / name).write_bytes(damaged[: drawn.integers(1, len(whole) + 1)])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                open_picture(tmp_path / name, "full range")
        except UNREADABLE as error:
            reasons.add(reason_of(error))
    assert reasons <= {
        "file_truncated",
        "file_unreadable",
        "image_too_large",
        "image_not_a_picture",
        "pixels_not_finite",
    }
    assert reasons


def gallery_of(root, path="img/a_1.png", **options):
    card = label_card("folder_classes", {}, patient={"rule": "column"})
    gallery = open_gallery(root, card, PictureOptions(**options))
    return list(gallery.describe_all(iter([Draft(path, gradient(), labels=("polyp",), facts=(("view", "own"),))])))


TABLE = {
    "file": "t.csv", "key": "{case}", "matches": "{case}", "patient_column": "who", "split_column": "fold",
    "splits": {"1": "test"}, "facts": {"view": "view", "stain": "stain"}, "label_column": "more", "separator": ";",
}  # fmt: skip


def test_a_table_and_a_place_say_more_of_a_picture(tmp_path):
    (tmp_path / "t.csv").write_text("case,who,fold,view,stain,more\na,p1,1,x,blue,cyst;scar\n")
    place = {"modality": "CT", "plane": "axial", "body_part": "colon", "facts": {"view": "place", "mode": "fast"}}
    pattern = r"(?P<case>\w)_\d"
    (draft,) = gallery_of(tmp_path, pattern=pattern, table=TABLE, places={"other/*": {}, "img/*": place})
    assert (draft.patient, draft.split, draft.labels) == ("p1", "test", ("cyst", "polyp"))
    assert (draft.modality, draft.plane, draft.body_part) == ("CT", "axial", "colon")
    assert draft.facts == (("mode", "fast"), ("stain", "blue"), ("view", "own"))


def test_a_picture_without_its_row_and_bad_rows_are_refused(tmp_path):
    rows = "a,p1,1,x,y,\na,p1,1,x,y,\nb,p1,7,x,y,\nc,p1,1,x,y,horn\nd\n"
    (tmp_path / "t.csv").write_text("case,who,fold,view,stain,more\n" + rows)
    found = gallery_of(tmp_path, "img/e_1.png", pattern=r"(?P<case>\w)_\d", table=TABLE)
    assert found == [
        Rejection("t.csv#row/2", "row_repeated"), Rejection("t.csv#row/3", "split_not_known"),
        Rejection("t.csv#row/4", "label_not_in_vocabulary"), Rejection("t.csv#row/5", "row_malformed"),
        Rejection("img/e_1.png", "row_missing"),
    ]  # fmt: skip
    lenient = {**TABLE, "required": False}
    draft = gallery_of(tmp_path, "img/e_1.png", pattern=r"(?P<case>\w)_\d", table=lenient)[-1]
    assert (draft.patient, draft.labels) == ("", ("polyp",))


def test_a_template_that_names_nothing_is_the_cards_fault(tmp_path):
    with pytest.raises(CardInvalid, match="names case"):
        gallery_of(tmp_path, table=TABLE)


@pytest.mark.parametrize("line", ["img/a_1.png", "./img/a_1.png", "img/a_1", "a_1.png 0 1", "a_1", "a_1,7"])
def test_published_lists_assign_the_split(line, tmp_path):
    (tmp_path / "val.txt").write_text(f"\nother\n{line}\n")
    (draft,) = gallery_of(tmp_path, split_files={"val.txt": "validation"})
    assert draft.split == "validation"


def test_a_list_that_is_absent_or_silent(tmp_path):
    (tmp_path / "val.txt").write_text("other\n")
    assert gallery_of(tmp_path, split_files={"val.txt": "validation"})[0].split == ""
    with pytest.raises(DatasetMissing, match="absent"):
        gallery_of(tmp_path, split_files={"no.txt": "test"})


def marks(path, **coding):
    size, found = read_marks(path, MaskCoding(**coding))
    assert size == (30, 40)
    return {word: (int(mask.sum()), mask.dtype) for word, mask in found}


def test_grey_values_colours_and_palettes_stand_for_labels(tmp_path):
    grey = rectangle(0, 0, 10, 10, 1) + rectangle(20, 20, 30, 30, 2)
    save(tmp_path / "grey.png", grey)
    assert marks(tmp_path / "grey.png", values={1: "polyp", 2: "cyst"}) == {
        "polyp": (100, bool),
        "cyst": (100, bool),
    }
    painted = np.zeros((30, 40, 3), dtype=np.uint8)
    painted[:10, :10], painted[20:, 20:30] = (255, 0, 0), (0, 128, 255)
    save(tmp_path / "colour.png", painted)
    colours = {"#ff0000": "polyp", "0, 128, 255": "cyst"}
    assert marks(tmp_path / "colour.png", colours=colours) == {"polyp": (100, bool), "cyst": (100, bool)}
    indexed = Image.fromarray(grey, mode="P")
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 128, 255])
    indexed.save(tmp_path / "palette.png")
    assert marks(tmp_path / "palette.png", values={1: "polyp", 2: "cyst"})["cyst"][0] == 100
    assert marks(tmp_path / "palette.png", colours=colours)["cyst"][0] == 100
    np.save(tmp_path / "grey.npy", grey.astype(np.int64))
    assert marks(tmp_path / "grey.npy", values={1: "polyp", 2: "cyst"})["polyp"][0] == 100


def test_one_label_above_a_threshold_or_below(tmp_path):
    save(tmp_path / "a.png", rectangle(0, 0, 10, 10) + rectangle(20, 0, 21, 10, 9))
    assert marks(tmp_path / "a.png", label="polyp")["polyp"][0] == 110
    assert marks(tmp_path / "a.png", label="polyp", threshold=127)["polyp"][0] == 100
    assert marks(tmp_path / "a.png", label="polyp", threshold=127, inverted=True)["polyp"][0] == 1100


def test_each_number_is_an_object(tmp_path):
    save(tmp_path / "a.png", rectangle(0, 0, 5, 5, 7) + rectangle(10, 10, 12, 12, 9))
    _, found = read_marks(tmp_path / "a.png", MaskCoding(label="polyp", holds="objects"))
    assert [(word, int(mask.sum())) for word, mask in found] == [("polyp", 25), ("polyp", 4)]


def test_a_value_that_nothing_explains_refuses_the_file(tmp_path):
    save(tmp_path / "a.png", rectangle(0, 0, 5, 5, 3) + rectangle(10, 10, 12, 12, 200))
    coding = {"values": {200: "polyp"}}
    assert reason(marks_of := lambda **more: marks(tmp_path / "a.png", **coding, **more)) == "mask_value_unknown"
    assert marks_of(tolerance=4) == marks_of(unknown="background") == {"polyp": (4, bool)}
    save(tmp_path / "a.png", np.stack([shade(0), shade(1), shade(2)], axis=2))
    assert reason(marks_of) == "mask_not_grey"


def test_a_numpy_mask_with_objects_in_it_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert reason(lambda: read_marks(tmp_path / "a.npy", MaskCoding(label="x"))) == "file_unreadable"
    np.save(tmp_path / "a.npy", np.zeros(4))
    assert reason(lambda: read_marks(tmp_path / "a.npy", MaskCoding(label="x"))) == "mask_not_a_picture"


@pytest.mark.parametrize(
    ("coding", "told"),
    [
        ({}, "one of"),
        ({"label": "a", "values": {1: "b"}}, "one of"),
        ({"values": {1: "b"}, "holds": "objects"}, "goes with"),
        ({"colours": {"red": "b"}}, "not a colour"),
        ({"colours": {"300, 0, 0": "b"}}, "not a colour"),
    ],
)
def test_a_coding_that_contradicts_itself_is_refused(coding, told):
    with pytest.raises(ValueError, match=told):
        MaskCoding(**coding)


def test_colours():
    assert parse_colour("#0a0B0c") == parse_colour("10, 11,12") == 0x0A0B0C


def test_a_refusal_says_its_reason():
    assert str(Refused("row_missing", "a.png")) == "row_missing: a.png" and str(Refused("x")) == "x"
