"""Tiny sources of text and images in the layouts that their data sets publish (facts/paper.md, section 6)."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.data.card import Card
from tests.fakes.sources import gradient, make_card

XRAY = {"modality": "X-ray", "department": "Pulmonary Medicine", "body_part": "chest"}


def picture(number: int = 0, *, form: str = "PNG") -> bytes:
    """A grey picture of 48 x 32 pixels; each number gives another."""
    buffer = io.BytesIO()
    Image.fromarray((gradient() // 2 + 5 * number).astype(np.uint8)).save(buffer, form)
    return buffer.getvalue()


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_json(path: Path, value: Any) -> Path:
    return put(path, json.dumps(value, ensure_ascii=False))


def put_lines(path: Path, rows: list[Any]) -> Path:
    return put(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def put_table(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return put(path, buffer.getvalue())


def put_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def put_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


# ---- reports
OPEN_I = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><meta type="rr"/><uId id="{name}"/><pmcId id="{name}"/>
<MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="INDICATION">Positive TB test</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">{impression}</AbstractText>
</Abstract></Article></MedlineCitation><MeSH><major>{major}</major></MeSH>{images}</eCitation>"""
PARENT_IMAGE = (
    '<parentImage id="{0}"><figureId>F1</figureId><panel type="single">'
    "<url>/hadoop/storage/radiology/extract/{0}.jpg</url></panel></parentImage>"
)


def put_open_i(
    root: Path, name: str, images: list[str], *, findings: str, impression: str, major: str = "normal"
) -> None:
    parents = "".join(PARENT_IMAGE.format(image) for image in images)
    text = OPEN_I.format(name=name, findings=findings, impression=impression, major=major, images=parents)
    put(root / f"ecgen-radiology/{name.removeprefix('CXR')}.xml", text)


def make_open_i(root: Path) -> Card:
    """Study 1 has two images, study 2 one image and an impression alone."""
    views = ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"]
    put_open_i(root, "CXR1", views, findings="The heart is\n  normal.", impression="No acute disease.")
    put_open_i(root, "CXR2", ["CXR2_IM-0652-1001"], findings="", impression="Clear.", major="Cardiomegaly/mild")
    for number, name in enumerate([*views, "CXR2_IM-0652-1001"]):
        put(root / f"NLMCXR_png/{name}.png", picture(number))
    published = {"layout": "open_i", "mesh_labels": True}
    terms = {"normal": "normal chest", "Cardiomegaly/mild": "cardiomegaly"}
    return make_card("iu_xray", "report_tables", {"published": published}, label_map=terms, **XRAY)


MIMIC_REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with new onset ascites  // eval for infection

 FINDINGS:

 There is no focal consolidation, pleural effusion or pneumothorax.
 The heart is normal.

 IMPRESSION:

 No acute cardiopulmonary process.
"""
MIMIC_ROWS = [
    {"dicom_id": "02aa804e-bde0afdd", "study_id": "50414267", "subject_id": "10000032", "split": "train"},
    {"dicom_id": "174413ec-4ec4c1f7", "study_id": "50414267", "subject_id": "10000032", "split": "train"},
    {"dicom_id": "68b5c4b1-227d0485", "study_id": "53911762", "subject_id": "10000764", "split": "validate"},
]
MIMIC_VIEWS = ["PA", "LATERAL", "AP"]


def make_mimic_cxr(root: Path) -> Card:
    put_table(root / "mimic-cxr-2.0.0-split.csv", MIMIC_ROWS)
    views = [
        {"dicom_id": row["dicom_id"], "ViewPosition": view}
        for row, view in zip(MIMIC_ROWS, MIMIC_VIEWS, strict=True)
    ]
    put_table(root / "mimic-cxr-2.0.0-metadata.csv", views)
    for number, row in enumerate(MIMIC_ROWS):
        folder = root / f"files/p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}"
        put(folder / f"{row['dicom_id']}.jpg", picture(number, form="JPEG"))
        put(folder.with_suffix(".txt"), MIMIC_REPORT)
    return make_card("mimic_cxr", "report_tables", {"published": {"layout": "mimic_cxr"}}, **XRAY)


def make_r2gen(root: Path) -> Card:
    """R2Gen's annotation.json of IU X-ray: two images a report, in sections train, val and test."""
    rows = {
        split: [{"id": f"CXR{n}_IM-{n}", "report": f"the lungs are clear {n} .", "split": split,
                 "image_path": [f"CXR{n}_IM-{n}/0.png", f"CXR{n}_IM-{n}/1.png"]}]
        for n, split in enumerate(("train", "val", "test"))
    }  # fmt: skip
    put_json(root / "annotation.json", rows)
    for n in range(3):
        for view in range(2):
            put(root / f"images/CXR{n}_IM-{n}/{view}.png", picture(2 * n + view))
    published = {
        "layout": "table", "tables": [{"file": "annotation.json"}], "image": "images/{image_path}",
        "report": "report", "split": "split", "id": "id",
    }  # fmt: skip
    return make_card("r2gen_iu", "report_tables", {"published": published}, patient={"rule": "folder"}, **XRAY)


# ---- captions
def make_roco(root: Path) -> Card:
    rows = [
        {"id": f"ROCO_{n:05d}", "name": f"PMC1_{n}.jpg", "caption": f" Axial CT, a mass ({n}), with oedema. \n"}
        for n in range(2)
    ]
    put_table(root / "train/radiologytraindata.csv", rows)
    for n, row in enumerate(rows):
        put(root / f"train/radiology/images/{row['name']}", picture(n, form="JPEG"))
    options = {
        "tables": [{"file": "train/radiologytraindata.csv", "split": "train"}], "id": "id", "text": "caption",
        "image": "train/radiology/images/{name}",
    }  # fmt: skip
    return make_card("roco", "captions", options)


def make_medicat(root: Path) -> Card:
    rows = [
        {"pdf_hash": "0ab", "fig_uri": f"{n}-Figure{n}-1.png", "s2_caption": f"Figure {n}. Chest film.",
         "radiology": n < 2, "fig_key": f"Figure{n}"} for n in range(3)
    ]  # fmt: skip
    put_lines(root / "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl", rows)
    for n in range(3):
        put(root / f"figures/0ab_{n}-Figure{n}-1.png", picture(n))
    table = {"file": "s2_full_figures*.jsonl", "only": {"radiology": ["true"]}}
    options = {"tables": [table], "image": "figures/{pdf_hash}_{fig_uri}", "text": "s2_caption"}
    return make_card("medicat", "captions", options, patient={"rule": "pattern", "pattern": "figures/([^_]+)_"})


def make_medpix(root: Path) -> Card:
    """MedPix-like: a JSON list whose description lies in nested objects; images in a zip."""
    rows = [
        {"U_id": f"MPX{n}", "image_id": f"MPX{n}_synpic{n}", "Type": "CT", "Location": "Head",
         "Description": {"Caption": f"Case {n}: subdural hygroma.", "Plane": "Axial"}} for n in range(2)
    ]  # fmt: skip
    put_json(root / "Descriptions.json", rows)
    members = {f"images/{row['image_id']}.png": picture(n) for n, row in enumerate(rows)}
    put_zip(root / "images.zip", members)
    options = {
        "tables": [{"file": "Descriptions.json"}], "archives": ["*.zip"], "image": "images/{image_id}.png",
        "text": "Description.Caption", "patient": "U_id", "modality": "Type",
        "modalities": {"CT": "CT", "MR": "MR"}, "body_part": "Location",
        "facts": {"stated plane": "Description.Plane"},
    }  # fmt: skip
    return make_card("medpix", "captions", options)


# ---- questions
VQA_RAD_ROW = {
    "qid": 11, "image_name": "synpic42202.jpg", "image_organ": "CHEST", "answer": "yes", "answer_type": "CLOSED",
    "question_type": "PRES", "question": "Is there evidence of an aortic aneurysm?", "phrase_type": "freeform",
}  # fmt: skip


def make_vqa_rad(root: Path) -> Card:
    rows = [
        VQA_RAD_ROW,
        VQA_RAD_ROW | {"qid": 12, "question": "How many?", "answer": 2, "question_type": "ATRIB"},
        VQA_RAD_ROW | {"qid": 13, "question": "Where?", "answer": "left", "image_name": "synpic7.jpg"},
    ]
    put_json(root / "trainset.json", rows)
    for n, name in enumerate(("synpic42202.jpg", "synpic7.jpg")):
        put(root / f"VQA_RAD Image Folder/{name}", picture(n, form="JPEG"))
    options = {
        "tables": [{"file": "trainset.json", "split": "train"}], "image": "VQA_RAD Image Folder/{image_name}",
        "id": "qid", "question": "question", "answer": "answer", "question_type": "question_type",
        "question_types": {"ATRIB": "attribute", "PRES": "presence"}, "facts": {"region": "image_organ"},
    }  # fmt: skip
    return make_card("vqa_rad", "vqa", options, **XRAY)


SLAKE_ROW = {
    "img_id": 1, "img_name": "xmlab1/source.jpg", "question": "What modality is used to take this image?",
    "answer": "MRI", "q_lang": "en", "location": "Abdomen", "modality": "MRI", "answer_type": "OPEN",
    "base_type": "vqa", "content_type": "Modality", "triple": ["vhead", "_", "_"], "qid": 0,
}  # fmt: skip


def make_slake(root: Path) -> Card:
    """The same image asked about in English and Chinese; one image of validation."""
    chinese = {"q_lang": "zh", "question": "这张图片的成像方式是什么？", "answer": "核磁共振", "qid": 1}
    put_json(root / "train.json", [SLAKE_ROW, SLAKE_ROW | chinese])
    other = {"img_name": "xmlab2/source.jpg", "modality": "X-Ray", "location": "Lung", "answer": "X-Ray", "qid": 2}
    put_json(root / "validation.json", [SLAKE_ROW | other])
    put_zip(root / "imgs.zip", {f"imgs/xmlab{n}/source.jpg": picture(n, form="JPEG") for n in (1, 2)})
    options = {
        "tables": [{"file": "train.json", "split": "train"}, {"file": "validation.json", "split": "validation"}],
        "image": "imgs/{img_name}", "archives": ["imgs.zip"], "id": "qid", "question": "question",
        "answer": "answer", "question_type": "content_type", "language": "q_lang",
        "modality": "modality", "body_part": "location",
        "modalities": {"CT": "CT", "MRI": "MR", "X-Ray": "X-ray"},
    }  # fmt: skip
    return make_card("slake", "vqa", options, patient={"rule": "folder"})


PMC_CHOICES = {"Choice A": " A:CT ", "Choice B": " B:MRI ", "Choice C": " C:PET ", "Choice D": " D:X-ray "}


def make_pmc_vqa_1(root: Path) -> Card:
    """Version 1: the answer is a text, beside its letter."""
    row = {"Figure_path": "PMC1_F1.jpg", "Question": " What is shown? ", "Answer": "MRI"} | PMC_CHOICES
    put_table(root / "train.csv", [row | {"Answer_label": "B"}])
    put_zip(root / "images.zip", {"images/PMC1_F1.jpg": picture(1, form="JPEG")})
    options = {
        "tables": [{"file": "train.csv", "split": "train"}], "image": "images/{Figure_path}",
        "archives": ["images.zip"], "question": "Question", "answer": "Answer", "options": list(PMC_CHOICES),
    }  # fmt: skip
    return make_card("pmc_vqa_1", "vqa", options, modality="MR")


def make_pmc_vqa_2(root: Path) -> Card:
    """Version 2: the answer is a letter, and the row states its split."""
    row = {"index": 0, "Figure_path": "PMC2_F1.jpg", "Caption": "A scan.", "Question": "What is it?"} | PMC_CHOICES
    put_table(root / "test_2.csv", [row | {"Answer": "D", "split": "test"}])
    put_zip(root / "images_2.zip", {"figures/PMC2_F1.jpg": picture(2, form="JPEG")})
    options = {
        "tables": [{"file": "test_2.csv"}], "image": "figures/{Figure_path}", "archives": ["images_2.zip"],
        "id": "index", "split": "split", "question": "Question", "answer": "Answer", "answer_is": "letter",
        "options": list(PMC_CHOICES),
    }  # fmt: skip
    return make_card("pmc_vqa_2", "vqa", options, modality="X-ray")


def make_omnimedvqa(root: Path) -> Card:
    """Two to four options a row; the answer is the option's text."""
    row = {
        "dataset": "ACRIMA", "question_id": "ACRIMA_0000", "question_type": "Modality Recognition",
        "question": "What imaging technique was employed to obtain this picture?", "gt_answer": "Fundus imaging",
        "image_path": "Images/ACRIMA/Im553_g_ACRIMA.png", "option_A": "PET scan", "option_B": "CT scan",
        "option_C": "Blood test", "option_D": "Fundus imaging", "modality_type": "Fundus Photography",
    }  # fmt: skip
    two = {key: value for key, value in row.items() if key not in ("option_C", "option_D")}
    second = {"question_id": "ACRIMA_0001", "question": "Is glaucoma seen?", "option_A": "Yes", "option_B": "No"}
    put_json(root / "QA_information/Open-access/ACRIMA.json", [row, two | second | {"gt_answer": "No"}])
    put(root / "Images/ACRIMA/Im553_g_ACRIMA.png", picture(3))
    options = {
        "tables": [{"file": "QA_information/Open-access/*.json"}], "image": "{image_path}", "id": "question_id",
        "question": "question", "answer": "gt_answer", "options": ["option_A", "option_B", "option_C", "option_D"],
        "question_type": "question_type", "modality": "modality_type",
        "modalities": {"Fundus Photography": "Fundus"}, "facts": {"source data set": "dataset"},
    }  # fmt: skip
    return make_card("omnimedvqa", "vqa", options)


def make_vqa_med(root: Path) -> Card:
    """VQA-Med 2019: `id|question|answer` without a header, the image named by its id."""
    put(
        root / "All_QA_Pairs_train.txt", "synpic1|what modality is shown?|ct|with|iv\nsynpic2|which plane?|axial\n"
    )
    put(root / "All_QA_Pairs_val.txt", 'synpic3|is it a "t1" image?|no\n')
    for n in (1, 2, 3):
        put(root / f"Train_images/synpic{n}.jpg", picture(n, form="JPEG"))
    header = ["image", "question", "answer"]
    options = {
        "tables": [
            {"file": "All_QA_Pairs_train.txt", "header": header, "split": "train"},
            {"file": "All_QA_Pairs_val.txt", "header": header, "split": "validation"},
        ],
        "image": "Train_images/{image}.jpg", "question": "question", "answer": "answer",
    }  # fmt: skip
    return make_card("vqa_med", "vqa", options, tolerance=0.5)


# ---- conversations
def talk(*turns: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(turns)]


def make_llava_med(root: Path) -> Card:
    """LLaVA-Med's instructions, with the published misspelling of the column."""
    rows = [
        {"id": "1", "image": "1.jpg", "domain": {"ct_scan": True}, "conversatons": talk(
            "What is seen?\n<image>", "A mass.", "Where?", "On the left.")},
        {"id": "2", "image": "1.jpg", "conversatons": talk("<image>\nNext?", "Follow up.")},
    ]  # fmt: skip
    put_json(root / "llava_med_instruct.json", rows)
    put(root / "images/1.jpg", picture(1, form="JPEG"))
    options = {
        "tables": [{"file": "llava_med_instruct.json"}],
        "image": "images/{image}",
        "kind": "instruct",
        "id": "id",
    }
    return make_card("llava_med", "conversations", options)


def make_pubmedvision(root: Path) -> Card:
    """Lists of one or two images, no placeholders, a modality among 45 names."""
    rows = [
        {"id": "Alignment_VQA_0", "image": ["images/pmc_1_0.jpg"], "modality": "Computed Tomography",
         "body_part": "Chest", "conversations": talk("Describe.", "A nodule.")},
        {"id": "Alignment_VQA_1", "image": ["images/pmc_1_0.jpg", "images/pmc_2_0.jpg"], "body_part": "Chest",
         "modality": "Computed Tomography", "conversations": talk("Compare the two.", "The second is larger.")},
    ]  # fmt: skip
    put_json(root / "PubMedVision_Alignment_VQA.json", rows)
    put_zip(root / "images_0.zip", {f"images/pmc_{n}_0.jpg": picture(n, form="JPEG") for n in (1, 2)})
    options = {
        "tables": [{"file": "PubMedVision_Alignment_VQA.json"}], "archives": ["images_*.zip"], "id": "id",
        "modality": "modality", "modalities": {"Computed Tomography": "CT"}, "body_part": "body_part",
    }  # fmt: skip
    return make_card("pubmedvision", "conversations", options)


def make_dialogues(root: Path) -> Card:
    """Text alone, in OpenAI's words for who speaks."""
    said = [("system", "Be brief."), ("user", "什么是高血压？"), ("assistant", "血压持续升高。"),
            ("user", "如何治疗？"), ("assistant", "先改变生活方式。")]  # fmt: skip
    put_lines(root / "dialogues.jsonl", [{"messages": [{"role": who, "content": text} for who, text in said]}])
    options = {
        "tables": [{"file": "dialogues.jsonl", "language": "zh"}], "image": "", "conversations": ["messages"],
        "speaker": "role", "value": "content", "drop_system": True,
    }  # fmt: skip
    return make_card("dialogues", "conversations", options)


def release_row(image: str, *turns: str) -> dict[str, Any]:
    return {
        "id": image.removeprefix("images/").replace("/", "#"), "image": image, "conversations": talk(*turns),
        "width": 48, "height": 32,
    }  # fmt: skip


def make_release(root: Path) -> Card:
    """The open half: captions and perception of one image in a zip without `images/`, and one text-only file."""
    image = "images/2d/cls/histopathology/crc100k/images/NORM/example.tif"
    put_lines(
        root / "annotations/GMAI-MM-Caption-1.7M.jsonl",
        [release_row(image, "<image>\nCaption it.", "Normal mucosa.")],
    )
    put_lines(
        root / "annotations/GMAI-MM-Percept-1.3M.jsonl",
        [release_row(image, "<image>\nWhat is <box> [[0.10, 0.10, 0.50, 0.50]]</box>?", "<ref>mucosa</ref>")],
    )
    put_lines(
        root / "annotations/GMAI_Text_Multi_0.7M.jsonl",
        [{"id": "t1", "conversations": talk("Hi?", "Yes.", "So?", "Go.")}],
    )
    put_zip(root / "zips/images_chunk_001.zip", {image.removeprefix("images/"): picture(1, form="TIFF")})
    return make_card("gmai_vl_open", "gmai_vl_release", {}, modality="CT")


def make_release_closed(root: Path) -> Card:
    """The other half: no zips, the user's own copy of the images lies under the rows' paths."""
    image = "images/3d/seg/ct/totalsegmentator_v2/s0001/10.png"
    put_lines(root / "annotations/GMAI-MM-Instrunct-0.9M.jsonl", [release_row(image, "<image>\nWhy?", "Because.")])
    put(root / image, picture(2))
    return make_card("gmai_vl_closed", "gmai_vl_release", {"zips": []})


# ---- containers
def put_parquet(path: Path, columns: dict[str, list[Any]], classes: dict[str, list[str]] | None = None) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    features: dict[str, Any] = {
        name: {"names": names, "_type": "ClassLabel"} for name, names in (classes or {}).items()
    }
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    pq.write_table(table, path, row_group_size=2)
    return path


def make_path_vqa(root: Path) -> Card:
    """flaviagiammarino/path-vqa: a row a question, the image's bytes in each."""
    images = [{"bytes": picture(n), "path": None} for n in (1, 2, 1)]
    columns = {"image": images, "question": ["where?", "is it so?", "what?"], "answer": ["here", "yes", "a cell"]}
    put_parquet(root / "data/train-00000-of-00001.parquet", columns)
    options = {
        "files": [{"file": "data/train-*.parquet", "split": "train"}], "question": "question", "answer": "answer"
    }  # fmt: skip
    return make_card("path_vqa", "hf_parquet", options, modality="Pathology")


def make_hf_classes(root: Path) -> Card:
    columns = {
        "image": [{"bytes": picture(n), "path": f"scan{n}.png"} for n in range(3)], "label": [0, 1, -1],
        "caption": ["a glioma", "nothing", "unknown"],
    }  # fmt: skip
    put_parquet(root / "data/train-00000-of-00001.parquet", columns, {"label": ["glioma", "no_tumor"]})
    options = {
        "files": [{"file": "data/train-*.parquet", "split": "train"}], "labels": ["label"], "text": "caption",
    }  # fmt: skip
    return make_card("hf_classes", "hf_parquet", options, label_map={"glioma": "glioma", "no_tumor": ""})


def make_shards(root: Path) -> Card:
    members = [
        ("000000.jpg", picture(0, form="JPEG")), ("000000.txt", b"A nodule."), ("000000.cls", b"1"),
        ("000000.json", b'{"who": "p1", "height": 32}'), ("000001.cls", b"0"),
        ("000001.jpg", picture(1, form="JPEG")), ("000001.json", b'{"who": "p2"}'),
        ("000001.txt", b"Normal lungs."),
    ]  # fmt: skip
    put_tar(root / "train-000000.tar", members)
    options = {
        "shards": [{"file": "train-*.tar", "split": "train"}], "text_member": "txt", "class_member": "cls",
        "classes": ["normal", "nodule"], "patient": "who",
    }  # fmt: skip
    return make_card("shards", "webdataset", options, label_map={"normal": "", "nodule": "lung nodule"})


MAKERS = (
    make_open_i, make_mimic_cxr, make_r2gen, make_roco, make_medicat, make_medpix, make_vqa_rad, make_slake,
    make_pmc_vqa_1, make_pmc_vqa_2, make_omnimedvqa, make_vqa_med, make_llava_med, make_pubmedvision,
    make_dialogues, make_release, make_release_closed, make_path_vqa, make_hf_classes, make_shards,
)  # fmt: skip
