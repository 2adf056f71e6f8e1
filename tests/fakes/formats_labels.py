"""Tiny sources in the layouts of labelled pictures: folders, tables, VOC, COCO, YOLO, masks, MedMNIST, videos.

Each maker writes files below `root` and returns the card that reads them. Pictures are 40 wide and 30 high.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.data.card import Card
from tests.fakes.sources import gradient, make_card

HEIGHT, WIDTH = 30, 40
TERMS = {"polyp": "polyp", "cyst": "cyst", "NORMAL": "normal", "scar": ""}


def save(path: Path, pixels: np.ndarray | None = None, **options: Any) -> Path:
    """Write a picture (a grey gradient when none is given), making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gradient(HEIGHT, WIDTH) if pixels is None else pixels).save(path, **options)
    return path


def shade(number: int) -> np.ndarray:
    """A grey picture of its own."""
    return ((gradient(HEIGHT, WIDTH).astype(int) + 20 * number) % 256).astype(np.uint8)


def rectangle(top: int, left: int, bottom: int, right: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[top:bottom, left:right] = value
    return mask


def label_card(reader: str, options: dict[str, Any], **changes: Any) -> Card:
    return make_card(f"fake_{reader}", reader, options, **{"label_map": TERMS, "modality": "Endoscopy", **changes})


def make_folders(root: Path, **changes: Any) -> Card:
    """Train and test folders with a folder a class each."""
    for number, name in enumerate(("train/polyp/a.png", "train/NORMAL/b.jpg", "test/polyp/deep/c.png")):
        save(root / name, shade(number))
    split = {"rule": "fixed", "default": "train", "assign": {"test/*": "test"}}
    options = {"images": ["**/*.png", "train/*/*.jpg"], "class_depth": 1, **changes.pop("options", {})}
    return label_card("folder_classes", options, split=split, **changes)


def make_table(root: Path, text: str, options: dict[str, Any], *, pictures: str = "ab", **changes: Any) -> Card:
    """`img/a.png` … beside `labels.csv`."""
    for number, name in enumerate(pictures):
        save(root / "img" / f"{name}.png", shade(number))
    (root / "labels.csv").write_text(text)
    named = {"tables": ["labels.csv"], "image": "img/{id}.png", "images": ["img/*.png"]}
    return label_card("label_table", {**named, **options}, **changes)


def make_one_label_table(root: Path) -> Card:
    return make_table(root, "id,finding\na,polyp\nb,NORMAL\n", {"label_column": "finding"})


def voc_object(word: str, box: tuple[float, ...], **marks: int) -> str:
    corners = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    flags = "".join(f"<{mark}>{value}</{mark}>" for mark, value in marks.items())
    return f"<object><name>{word}</name>{flags}<bndbox>{corners}</bndbox></object>"


def voc_document(filename: str, objects: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename}</filename>{size}{objects}</annotation>"


def make_voc(root: Path, objects: str | None = None, **changes: Any) -> Card:
    save(root / "JPEGImages" / "a.png")
    (root / "Annotations").mkdir(parents=True)
    drawn = voc_object("polyp", (11, 7, 20, 15), difficult=1) if objects is None else objects
    (root / "Annotations" / "a.xml").write_text(voc_document("a.png", drawn))
    options = {"annotations": ["Annotations/*.xml"], "complete": True, **changes.pop("options", {})}
    return label_card("voc_xml", options, **changes)


def coco_file(annotations: list[dict[str, Any]], pictures: str = "ab") -> dict[str, Any]:
    names = ("polyp", "cyst", "never used")
    return {
        "images": [
            {"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH}
            for number, name in enumerate(pictures, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, start=1)],
    }


def counts_of(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed counts, written the slow way: down the columns, background first."""
    counts, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def pack_counts(counts: list[int]) -> str:
    """COCO's compressed counts, after the format's description."""
    text = ""
    for place, count in enumerate(counts):
        rest = count - counts[place - 2] if place > 2 else count
        while True:
            low, rest = rest & 0x1F, rest >> 5
            is_last = rest == (-1 if low & 0x10 else 0)
            text += chr(48 + (low if is_last else low | 0x20))
            if is_last:
                break
    return text


def make_coco(root: Path, annotations: list[dict[str, Any]] | None = None, **changes: Any) -> Card:
    for number, name in enumerate("ab"):
        save(root / "train" / f"{name}.png", shade(number))
    drawn = [
        {"image_id": 1, "category_id": 1, "bbox": [10, 6, 10, 9]},
        {"image_id": 1, "category_id": 2, "bbox": [0, 0, 4, 4], "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
    ]  # fmt: skip
    raw = coco_file(drawn if annotations is None else annotations)
    (root / "train.json").write_text(json.dumps(raw))
    options = {"annotations": ["train.json"], "image": "{stem}/{file_name}", **changes.pop("options", {})}
    return label_card("coco", options, **changes)


def make_yolo(root: Path, lines: str = "0 0.375 0.35 0.25 0.3\n", **changes: Any) -> Card:
    save(root / "images" / "train" / "a.png")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "a.txt").write_text(lines)
    (root / "data.yaml").write_text("nc: 2\nnames: {0: polyp, 1: cyst}\n")
    options = {"images": ["images/*/*.png"], "names_file": "data.yaml", **changes.pop("options", {})}
    return label_card("yolo", options, **changes)


def make_masks(root: Path, mask: np.ndarray | None = None, **options: Any) -> Card:
    """`images/a.png` with `masks/a_mask.png`, unless options say otherwise."""
    save(root / "images" / "a.png")
    save(root / "masks" / "a_mask.png", rectangle(6, 10, 15, 20) if mask is None else mask)
    usual = {"images": ["images/*.png"], "layers": [{"masks": "masks/{stem}_mask.png", "label": "polyp"}]}
    return label_card("mask_images", {**usual, **options})


def make_medmnist(root: Path, **arrays: np.ndarray) -> Card:
    root.mkdir(parents=True, exist_ok=True)
    shown = {name: np.stack([shade(number)[:28, :28] for number in range(2)]) for name in ("train", "val", "test")}
    usual = {f"{name}_images": pictures for name, pictures in shown.items()}
    usual |= {f"{name}_labels": np.array([[0], [1]], dtype=np.uint8) for name in shown}
    np.savez_compressed(root / "fakemnist.npz", **{**usual, **arrays})
    options = {"files": ["*.npz"], "label_names": ["NORMAL", "polyp"]}
    return label_card("medmnist", options, patient={"rule": "column"})


def jpeg_bytes(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(shade(number)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_avi(path: Path, frames: list[bytes]) -> Path:
    """Write a motion-JPEG AVI with the chunks that a reader walks: hdrl, movi, idx1."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", b"\0" * 56))
    movie = chunk(b"LIST", b"movi" + b"".join(chunk(b"00dc", frame) for frame in frames))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chunk(b"RIFF", b"AVI " + header + movie + chunk(b"idx1", b"\0" * 16)))
    return path


def make_video(root: Path, **changes: Any) -> Card:
    """A folder of frames, a GIF and an AVI, of the class that their first folder says."""
    for number in (1, 2, 10):
        save(root / "polyp" / "case1" / f"f_{number}.png", shade(number))
    pictures = [Image.fromarray(shade(number)) for number in range(4)]
    (root / "NORMAL").mkdir()
    pictures[0].save(root / "NORMAL" / "v.gif", save_all=True, append_images=pictures[1:])
    write_avi(root / "NORMAL" / "w.avi", [jpeg_bytes(number) for number in range(4)])
    options = {
        "frames": ["*/case*/*.png"], "videos": ["*/*.gif", "*/*.avi"], "class_depth": 0, "every": 2,
        **changes.pop("options", {}),
    }  # fmt: skip
    return label_card("video_frames", options, patient={"rule": "pattern", "pattern": r"^(\w+)/"}, **changes)


def write_workbook(path: Path, rows: list[list[Any]], *, first: str = "", cell: str = "") -> Path:
    """Write an .xlsx with one sheet, "Labels"; `first` and `cell` are put into its XML as they are."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    texts = sorted({value for row in rows for value in row if isinstance(value, str)})

    def written(row: int, column: int, value: Any) -> str:
        place = f"{chr(65 + column)}{row}"
        if value == "":
            return ""
        is_text = isinstance(value, str)
        return f'<c r="{place}"{" t=" + chr(34) + "s" + chr(34) if is_text else ""}>' + (
            f"<v>{texts.index(value) if is_text else value}</v></c>"
        )

    strings = "".join(f"<si><t>{text}</t></si>" for text in texts)
    lines = "".join(
        f'<row r="{number}">{"".join(written(number, at, value) for at, value in enumerate(row))}{cell}</row>'
        for number, row in enumerate(rows, start=1)
    )
    parts = {
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="Labels" sheetId="1" '
        'r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
        'relationships"><Relationship Id="rId1" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/sharedStrings.xml": f'<sst xmlns="{main}">{strings}</sst>',
        "xl/worksheets/sheet1.xml": f'{first}<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


LABEL_MAKERS = (
    make_folders, make_one_label_table, make_voc, make_coco, make_yolo, make_masks, make_medmnist, make_video
)  # fmt: skip
