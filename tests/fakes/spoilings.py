"""Ways to spoil a source's file, each with what must come of it: a reason of a few, or a conversion to check.

A file that is not what it should be is either refused by name (`reasons`) or read by a rule that the docs state
(`conversions`), and then the pixels, boxes or records are held against what that rule says. Whatever else comes of
it is a fault of the reader. `drills/malformed_inputs.py` tries them on every fake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes import spoil_files as files
from tests.fakes import spoilt_reads as reads
from tests.fakes.spoil_files import OUTSIDE, Spoil

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
TABLES, NESTED, MARKUP, ARCHIVES = {".csv", ".tsv"}, {".json", ".jsonl"}, {".xml"}, {".zip", ".tar"}
TEXTS = TABLES | NESTED | MARKUP | {".txt", ".yaml", ".yml"}
VOLUMES = {".nii", ".gz"}
NAMED_FILE = re.compile(r"[\w./\-]+\.(?:png|jpe?g|bmp|tiff?|dcm|nii(?:\.gz)?)")
ANSWERS = r'("(?:answer|Answer|gt_answer|gold|value)":\s*)"[^"]*"'


@dataclass(frozen=True)
class Spoiling:
    """One way to spoil a file, the reasons that may refuse it, and the rules by which it may be read after all."""

    name: str
    spoil: Spoil
    reasons: frozenset[str]
    conversions: Mapping[str, reads.Check] = field(default_factory=dict)


def of(*names: str) -> frozenset[str]:
    """Name the reasons that may refuse a spoilt file."""
    return frozenset(names)


GONE = of(
    "file_missing", "table_missing", "label_file_missing", "mask_missing", "annotation_missing", "names_missing"
)
# A folder where a file should be: some libraries say so, others find no file.
NO_FILE = GONE | of(
    "file_unreadable",
    "names_unreadable",
    "file_truncated",
    "second_image_missing",
    "label_missing",
    "slices_missing",
)
BROKEN = of(
    "file_unreadable", "file_truncated", "file_empty", "archive_unreadable", "parquet_unreadable",
    "json_malformed", "row_not_json", "table_encoding_wrong",
    "names_malformed", "xml_malformed", "xml_unreadable", "text_not_unicode",
    "annotation_unreadable", "report_without_sections", "table_empty", "table_columns_missing", "image_not_named",
)  # fmt: skip
ESCAPES = of("path_escapes_source", "link_leaves_source")
TWICE = of(
    "row_repeated", "row_id_repeated", "annotation_repeated", "annotation_id_repeated", "image_id_repeated",
    "image_repeated", "record_id_repeated", "second_text_of_image", "image_in_another_split",
)  # fmt: skip
ANY = (
    Spoiling("zero_byte", files.replace_bytes(lambda _: b""), BROKEN, {"no_object": reads.shows_nothing}),
    Spoiling("absent", lambda path: path.unlink(), NO_FILE, {"not_listed": reads.is_left_out}),
    Spoiling("noise", files.replace_bytes(files.noise), BROKEN),
    Spoiling("folder_in_its_place", files.to_folder, NO_FILE, {"not_listed": reads.is_left_out}),
    Spoiling("link_to_itself", files.link_to(lambda path: path.name), of("link_cyclic")),
    Spoiling("link_to_a_folder_above", files.link_to(lambda path: "."), NO_FILE | of("link_cyclic")),
    Spoiling("link_out_of_the_source", files.link_to(files.outside), ESCAPES),
)
BINARY = (
    Spoiling("truncated", files.replace_bytes(lambda content: content[: len(content) // 2]), BROKEN),
    Spoiling("files.wrong_magic", files.replace_bytes(files.wrong_magic), BROKEN),
    Spoiling("text_in_its_place", files.replace_bytes(lambda _: b"404: Not Found\n" * 20), BROKEN),
)
MASKS = of("mask_not_grey", "mask_value_unknown", "label_not_in_vocabulary")
NOT_SHOWN = of("image_not_8_bit", "image_not_a_picture")
SIZES = of("mask_size_differs", "image_size_differs", "mask_of_another_size", "mask_grid_differs")
PICTURE = (
    Spoiling("decompression_bomb", files.replace_bytes(files.bomb_png), of("image_too_large", "file_unreadable")),
    Spoiling(
        "cmyk",
        files.cmyk_in_place,
        MASKS | NOT_SHOWN | of("mask_of_another_size"),
        {"cmyk_to_rgb": reads.is_cmyk_as_rgb, "marked_where_not_zero": reads.is_marked},
    ),
    Spoiling(
        "sixteen_bit",
        files.picture_of("I;16", "PNG"),
        MASKS | NOT_SHOWN,
        {"windowed": reads.is_windowed, "marked_where_not_zero": reads.is_marked},
    ),
    Spoiling(
        "palette",
        files.picture_of("P", "PNG"),
        MASKS | NOT_SHOWN,
        {"palette_to_rgb": reads.is_palette_as_rgb, "marked_where_not_zero": reads.is_marked},
    ),
    Spoiling(
        "one_pixel",
        files.picture_of("L", "PNG", (1, 1)),
        SIZES | NOT_SHOWN,
        {"left_to_curation": reads.is_one_pixel},
    ),
    Spoiling("another_size", files.another_size, SIZES, {"new_size_recorded": reads.has_its_own_size}),
)
# A table whose rows name other pictures says nothing of those that are there.
NOT_NAMED = of("text_empty", "row_missing")
CUT_ROW = of("row_length_differs", "row_malformed", "line_malformed", "row_missing", "label_not_in_vocabulary")
READ_THE_SAME = {"read_the_same": reads.is_the_same}
TEXT = (
    Spoiling(
        "utf_16", files.replace_bytes(lambda content: content.decode("utf-8", "replace").encode("utf-16")), BROKEN,
        READ_THE_SAME,
    ),
    Spoiling(
        "names_absent_files", files.replace_text(lambda text: NAMED_FILE.sub("nowhere/absent.png", text)),
        of("file_missing") | NOT_NAMED, READ_THE_SAME,
    ),
    Spoiling(
        "names_parent_folder", files.replace_text(lambda text: NAMED_FILE.sub(f"../{OUTSIDE}", text)),
        ESCAPES | of("file_missing") | NOT_NAMED,
        READ_THE_SAME,
    ),
    Spoiling(
        "names_absolute_path", files.replace_text(lambda text: NAMED_FILE.sub("/etc/hostname.png", text)),
        ESCAPES | of("file_missing") | NOT_NAMED, READ_THE_SAME,
    ),
    Spoiling(
        "half_a_file", files.replace_text(lambda text: text[: len(text) // 2]),
        BROKEN | CUT_ROW,
        {"cut_between_rows": reads.says_no_more},
    ),
    Spoiling(
        "every_line_twice",
        files.replace_text(lambda text: "".join(2 * line for line in text.splitlines(keepends=True))),
        BROKEN | TWICE | of("id_malformed", "row_length_differs"),
        {**READ_THE_SAME, "said_twice": reads.says_it_twice, "left_to_curation": reads.is_said_before},
    ),
)  # fmt: skip
NO_TEXT = of(
    "image_name_missing", "image_not_named", "modality_not_mapped", "split_unknown", "language_unknown",
    "turn_speaker_unknown", "file_missing",
)  # fmt: skip
NO_ANSWER = of("answer_not_text", "answer_empty", "turn_not_text", "turn_empty", "turn_speaker_unknown")
TABLE = (
    Spoiling(
        "wrong_delimiter", files.replace_text(lambda text: text.replace(",", "|").replace("\t", "|")),
        of("table_columns_missing", "table_delimiter_wrong"),
    ),
    Spoiling(
        "empty_cells", files.replace_text(lambda text: re.sub(r"[^,\t\n]+(?=\n|$)", "", text)),
        of("table_columns_missing", "table_columns_repeated"), READ_THE_SAME,
    ),
)  # fmt: skip
DOCUMENT = (
    Spoiling(
        "trailing_comma", files.replace_text(lambda text: re.sub(r"([}\]])", r",\1", text)),
        of("json_malformed", "row_not_json"),
    ),
    Spoiling("numbers_for_texts", files.replace_text(lambda text: re.sub(r':\s*"[^"]*"', ": 7", text)), NO_TEXT),
    Spoiling("empty_texts", files.replace_text(lambda text: re.sub(r':\s*"[^"]*"', ': ""', text)), NO_TEXT),
    Spoiling(
        "answers_are_numbers", files.replace_text(lambda text: re.sub(ANSWERS, r"\1 7.5", text)),
        NO_ANSWER | of("answer_not_among_options"), {"number_as_text": reads.is_number_as_text},
    ),
    Spoiling("answers_are_empty", files.replace_text(lambda text: re.sub(ANSWERS, r'\1""', text)), NO_ANSWER),
    Spoiling("rows_twice", files.rows_twice, TWICE),
    Spoiling("flat_boxes", files.replace_text(files.boxes_flat), of("box_degenerate")),
    Spoiling("deeply_nested", files.replace_bytes(lambda _: b"[" * 100_000), of("json_malformed", "row_not_json")),
)  # fmt: skip
XML = (
    Spoiling(
        "entity_bomb",
        files.replace_text(files.entities),
        of("xml_entities", "xml_entities_refused", "xml_has_entities"),
    ),
    Spoiling(
        "external_entity",
        files.replace_text(files.external),
        of("xml_entities", "xml_entities_refused", "xml_has_entities"),
    ),
    Spoiling("unclosed", files.replace_text(lambda text: text[: text.rfind("<")]), BROKEN),
    Spoiling("flat_boxes", files.replace_text(files.boxes_flat), of("box_degenerate")),
)
ARCHIVE = (
    Spoiling("slip", files.slip, ESCAPES),
    Spoiling("slip_beside_sound_members", files.slip_in, ESCAPES),
    Spoiling("members_twice", files.members_twice, of("member_repeated", "image_repeated")),
)
VOLUME = (
    Spoiling("not_a_number", files.not_a_number, of("volume_not_finite", "file_unreadable", "label_not_whole")),
    Spoiling(
        "volume_of_another_size", files.volume_of_another_size, SIZES, {"new_size_recorded": reads.is_cut_anew}
    ),
)
DICOM = (Spoiling("monochrome1", files.monochrome1, of(), {"black_for_white": reads.is_the_same_picture}),)
BY_KIND: tuple[tuple[set[str], tuple[Spoiling, ...]], ...] = (
    (PICTURES, PICTURE), (TABLES, TABLE), (NESTED, DOCUMENT), (MARKUP, XML), (ARCHIVES, ARCHIVE),
    (VOLUMES, VOLUME),
    ({".dcm"}, DICOM),
)  # fmt: skip


def spoilings_of(path: Path) -> tuple[Spoiling, ...]:
    """Return every way to spoil a file of this kind."""
    kind = path.suffix.lower()
    general = TEXT if kind in TEXTS else BINARY
    if kind == ".raw":
        general = tuple(one for one in BINARY if one.name != "files.wrong_magic")  # bare pixels have none
    return ANY + general + tuple(one for kinds, some in BY_KIND if kind in kinds for one in some)
