"""Every public benchmark in its published layout, a few rows each: good ones first, then the faults seen in them.

Rows are modelled on the published fields (facts, section 6); the words and pictures are made up.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.records import Region, record_schema, to_rows
from components.tracking.tables import write_table
from tests.fakes.tables import make_pair, make_record, png, write_corpus


def put_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def put_lines(path: Path, rows: Sequence[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def put_table(path: Path, rows: Sequence[dict], *, delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def put_parquet(path: Path, rows: Sequence[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def put_picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(shade))


def rad_row(qid: int, image: str, question: str, answer: Any, answer_type: str, **changes) -> dict:
    row = {
        "qid": qid, "image_name": image, "image_organ": "CHEST", "answer": answer, "answer_type": answer_type,
        "question_type": "PRES", "question": question, "phrase_type": "freeform",
    }  # fmt: skip
    return row | changes


def vqa_rad(root: Path) -> Path:
    """Three good test rows (yes/no, closed but not yes/no, open), a number as answer, a missing picture."""
    for number, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        put_picture(root / "images" / name, 40 * number)
    test = [
        rad_row(11, "a.jpg", "Is there evidence of an aortic aneurysm?", "yes", "CLOSED"),
        rad_row(12, "b.jpg", "Is this an axial or coronal section?", "Axial", "CLOSED ", question_type="PLANE"),
        rad_row(13, "b.jpg", "Where is the lesion?", "Right lower lobe", "OPEN", question_type="POS, SIZE"),
        rad_row(14, "a.jpg", "How many masses are there?", 2, "OPEN", question_type="COUNT", image_organ="HEAD"),
        rad_row(15, "gone.jpg", "Is the heart large?", "no", "CLOSED"),
    ]
    put_json(root / "testset.json", test)
    train = [
        rad_row(1, "a.jpg", "Is there a mass?", "no", "CLOSED"),
        rad_row(2, "c.jpg", "Normal?", "no", "CLOSED"),
    ]
    put_json(root / "trainset.json", train)
    parts = [("11", "train"), ("12", "test"), ("2", "test"), ("1", "validate")]
    put_table(
        root / "vqa_rad_balanced_split_and_human_eval_inclusions.tsv", delimiter="\t",
        rows=[{"QID_unique": q, "SPLIT_BALANCED": s, "INCLUDED_IN_HUMAN_EVAL": "TRUE"} for q, s in parts],
    )  # fmt: skip
    return root


def vqa_rad_original(root: Path) -> Path:
    """The same rows as the authors' release has them: one file, test questions marked by their phrase type."""
    vqa_rad(root)
    rows = [
        {**row, "phrase_type": f"{mark}{row['phrase_type']}", "image_case_url": "https://example.org/case",
         "evaluation": "evaluated", "qid_linked_id": f"x{row['qid']}", "question_rephrase": "NULL"}
        for name, mark in (("testset.json", "test_"), ("trainset.json", ""))
        for row in json.loads((root / name).read_text(encoding="utf-8"))
    ]  # fmt: skip
    for name in ("testset.json", "trainset.json"):
        (root / name).unlink()
    (root / "images").rename(root / "VQA_RAD Image Folder")
    put_json(root / "VQA_RAD Dataset Public.json", rows)
    return root


def vqa_rad_parquet(root: Path) -> Path:
    """The Parquet copy: no types, no ids; a row without its picture."""
    rows = [
        {"image": {"bytes": png(7), "path": None}, "question": "is there a mass?", "answer": "yes"},
        {"image": {"bytes": png(8), "path": None}, "question": "which plane?", "answer": "axial"},
        {"image": {"bytes": None, "path": None}, "question": "what is it?", "answer": "a scan"},
    ]
    put_parquet(root / "data" / "test-00000-of-00001-e5bc3d208bb4deeb.parquet", rows)
    put_parquet(root / "data" / "train-00000-of-00001-eb8844602202be60.parquet", rows[:1])
    return root


def slake_row(qid: int, image: int, question: str, answer: str, language: str, answer_type: str) -> dict:
    return {
        "img_id": image, "img_name": f"xmlab{image}/source.jpg", "question": question, "answer": answer,
        "q_lang": language, "location": "Abdomen", "modality": "MRI", "answer_type": answer_type,
        "base_type": "vqa", "content_type": "Modality", "triple": ["vhead", "_", "_"], "qid": qid,
    }  # fmt: skip


def slake(root: Path) -> Path:
    """English and Chinese; picture 1 of the English test is in the Chinese training part; one empty answer."""
    for number in (1, 2, 3):
        put_picture(root / "imgs" / f"xmlab{number}" / "source.jpg", 50 * number)
    test = [
        slake_row(11934, 1, "What modality is used to take this image?", "MRI", "en", "OPEN"),
        slake_row(11935, 2, "Does the picture contain liver?", "Yes", "en", "CLOSED"),
        slake_row(11936, 2, "图中有肝脏吗？", "没有", "zh", "CLOSED"),
        slake_row(11937, 2, "这是什么模态？", "磁共振", "zh", "OPEN"),
        slake_row(11938, 2, "What is it?", "", "en", "OPEN"),
    ]
    train = [
        slake_row(0, 1, "图中有脾吗？", "有", "zh", "CLOSED"),
        slake_row(1, 3, "Is it MRI?", "Yes", "en", "CLOSED"),
    ]
    put_json(root / "test.json", test)
    put_json(root / "train.json", train)
    put_json(root / "validate.json", [slake_row(9835, 3, "Is it CT?", "No", "en", "CLOSED")])
    return root


def pmc_choices() -> dict[str, str]:
    return {"Choice A": " A:Fundus ", "Choice B": " B:CT ", "Choice C": " C:MRI", "Choice D": "D:PET "}


def pmc_vqa(root: Path) -> Path:
    """Version 1 (answer as text and label) and version 2 (caption, letter); a row without a letter."""
    put_picture(root / "images" / "PMC100_F1.jpg", 10)
    put_picture(root / "images_2" / "PMC200_F2_b.jpg", 20)
    first = {
        "Figure_path": "PMC100_F1.jpg",
        "Question": " What is the modality?",
        "Answer": " CT ",
        **pmc_choices(),
    }
    rows = [{**first, "Answer_label": "B"}, {**first, "Answer_label": ""}]
    for name in ("test.csv", "test_clean.csv", "train.csv"):
        put_table(root / name, rows if name == "test.csv" else rows[:1])
    second = {
        "index": 7, "Figure_path": "PMC200_F2_b.jpg", "Caption": "A scan.", "Question": "Which?", **pmc_choices(),
        "Answer": "C", "split": "test",
    }  # fmt: skip
    put_table(root / "test_2.csv", [second, {**second, "index": 8, "Figure_path": "../secret.jpg"}])
    return root


def path_vqa(root: Path) -> Path:
    rows = [
        {"image": {"bytes": png(5), "path": None}, "question": "is the nucleus seen?", "answer": "yes"},
        {"image": {"bytes": png(5), "path": None}, "question": "what is present?", "answer": "fat necrosis"},
        {"image": {"bytes": None, "path": None}, "question": "what is this?", "answer": "a cell"},
    ]
    put_parquet(root / "data" / "test-00000-of-00001-a1b2.parquet", rows)
    put_parquet(root / "data" / "train-00000-of-00001-a1b2.parquet", rows[:2])
    return root


def omni_row(number: int, answer: str, options: Sequence[str], **changes) -> dict:
    row = {
        "dataset": "ACRIMA", "question_id": f"ACRIMA_{number:04d}", "question_type": "Disease Diagnosis",
        "question": "What does this picture show?", "gt_answer": answer, "modality_type": "Fundus Photography",
        "image_path": "Images/ACRIMA/Im553_g_ACRIMA.png",
    }  # fmt: skip
    named = zip("ABCD", options, strict=False)
    return row | {f"option_{letter}": option for letter, option in named} | changes


def omnimedvqa(root: Path) -> Path:
    put_picture(root / "Images" / "ACRIMA" / "Im553_g_ACRIMA.png", 90)
    rows = [
        omni_row(0, "Glaucoma", ["Glaucoma", "Cataract", "Healthy eye", "Myopia"]),
        omni_row(1, "Optic disc", ["Optic disc", "Lens"], question_type="Anatomy Identification"),
        omni_row(2, "Uveitis", ["Glaucoma", "Cataract"]),
        omni_row(3, "Glaucoma", ["Glaucoma", "Cataract"], image_path="Images/gone.png"),
    ]
    put_json(root / "QA_information" / "Open-access" / "ACRIMA.json", rows)
    put_json(root / "QA_information" / "Restricted-access" / "Other.json", [omni_row(9, "a1", ["a1", "b1"])])
    return root


def mmbench_row(index: int, image: str, answer: str, task: str = "Disease Diagnosis", **changes) -> dict:
    row = {
        "index": index, "image": image, "question": "What is shown?", "A": "glioma", "B": "oedema", "C": "none",
        "D": "", "E": "nan", "answer": answer, "category": "glioma", "clinical VQA task": task, "split": "val",
        "department": "Neurosurgery", "perceptual granularity": "image", "modality": "MR",
    }  # fmt: skip
    return row | changes


def gmai_mmbench(root: Path) -> Path:
    """Validation with one borrowed picture and a broken one; two test parts without answers."""
    picture = base64.b64encode(png(120)).decode()
    rows = [
        mmbench_row(0, picture, "A"), mmbench_row(1, "0", "B"), mmbench_row(2, picture, "A", "Bone"),
        mmbench_row(3, "not base64!", "A"), mmbench_row(4, picture, "E"),
    ]  # fmt: skip
    put_table(root / "GMAI_mm_bench_VAL.tsv", rows, delimiter="\t")
    for part in (1, 2):
        hidden = {name: value for name, value in mmbench_row(part, picture, "").items() if name != "answer"}
        put_table(root / f"GMAI_mm_bench_TEST_part_{part}.tsv", [hidden], delimiter="\t")
    return root


SUBJECTS = (
    "Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy",
    "Public_Health",
)  # fmt: skip


def mmmu_row(
    subject: str, number: int, question: str, options: str, answer: str, pictures: int, **changes
) -> dict:
    row: dict[str, Any] = {
        "id": f"validation_{subject}_{number}", "question": question, "options": options, "answer": answer,
        "explanation": "", "img_type": "['MRI']", "topic_difficulty": "Easy", "subfield": "Anatomy",
        "question_type": "multiple-choice" if options != "[]" else "open",
    }  # fmt: skip
    for index in range(1, 8):
        shown = {"bytes": png(30 * index + number), "path": f"{index}.png"} if index <= pictures else None
        row[f"image_{index}"] = shown
    return row


def mmmu_medical(root: Path) -> Path:
    """Several pictures a question, pictures as options, an open question with two answers, a missing picture."""
    for subject in SUBJECTS:
        put_parquet(
            root / subject / "validation-00000-of-00001.parquet",
            [mmmu_row(subject, 1, "What is seen in <image 1>?", "['liver', 'spleen', 'lung', 'heart']", "B", 2)],
        )
    rows = [
        mmmu_row("Pharmacy", 1, "Compare <image 1> with <image 2>, not <image 1>.", "['same', 'other']", "A", 2),
        mmmu_row("Pharmacy", 2, "Which is it: <image 1>?", "['<image 2>', '<image 3>']", "B", 3),
        mmmu_row("Pharmacy", 3, "Give the dose in <image 1>.", "[]", "['2.5', '2.5 mg']", 1),
        mmmu_row("Pharmacy", 4, "See <image 4>.", "['a', 'b']", "A", 1),
    ]
    put_parquet(root / "Pharmacy" / "validation-00000-of-00001.parquet", rows)
    return root


def medxpertqa(root: Path) -> Path:
    for name in ("MM-26-a.jpeg", "MM-26-b.jpeg"):
        put_picture(root / "images" / name, 33)
    question = "A man has pain. Which step is next?\nAnswer Choices: (A) X-ray (B) CT (C) MRI (D) Rest (E) PET"
    row = {
        "id": "MM-26", "question": question, "label": "C", "images": ["MM-26-a.jpeg", "MM-26-b.jpeg"],
        "options": {"A": "X-ray", "B": "CT", "C": "MRI", "D": "Rest", "E": "PET"}, "medical_task": "Diagnosis",
        "body_system": "Skeletal", "question_type": "Reasoning",
    }  # fmt: skip
    put_lines(root / "MM" / "test.jsonl", [row, {**row, "id": "MM-27", "label": "F"}])
    put_lines(root / "MM" / "dev.jsonl", [{**row, "id": "MM-2000"}])
    return root


def report_generation(root: Path) -> Path:
    """R2Gen's layout: an IU study of two pictures, a MIMIC study of two of which one is shown, an empty report."""
    names = ("CXR1/0.png", "CXR1/1.png", "p10/p10000032/s50414267/a.jpg", "p10/p10000032/s50414267/b.jpg")
    for number, name in enumerate(names):
        put_picture(root / "images" / name, 20 + number)
    iu = {"id": "CXR1", "report": "The heart is enlarged. No pneumothorax.", "image_path": list(names[:2])}
    mimic = {"id": "50414267", "report": "Small left pleural effusion.", "image_path": list(names[2:])}
    empty = {"id": "CXR3", "report": " ", "image_path": [names[0]]}
    parts = {"train": [iu], "val": [iu], "test": [iu, mimic, empty]}
    put_json(
        root / "annotation.json", {part: [{**r, "split": part} for r in rows] for part, rows in parts.items()}
    )
    return root


def report_sections(root: Path) -> Path:
    """MedEvalKit's layout of the same."""
    put_picture(root / "images" / "1.png", 9)
    row = {"id": "1", "image": ["1.png"], "findings": "Lungs are clear.", "impression": "No acute disease."}
    put_json(root / "test.json", [row, {**row, "id": "2", "findings": "", "impression": ""}])
    return root


def text_perplexity(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    long = " ".join(f"word{number}" for number in range(200))
    (root / "test.txt").write_text(f"The liver lies below the right lung.\n\nToo short.\n\n{long}\n")
    put_lines(root / "test.jsonl", [{"text": "肝脏位于右肺的下方。"}])
    return root


def records(root: Path) -> Path:
    """Ingested records: boxes of two labels of which one may be absent, one label a picture, ruled-out labels."""
    boxes = (Region("lung", (0.1, 0.2, 0.5, 0.6)), Region("lung", (0.6, 0.2, 0.9, 0.6)))
    complete = {"regions_complete": True, "region_vocabulary": ("lung", "heart")}
    rows = [
        make_record(1, patient="p1", split="test", regions=boxes, labels=("pneumonia",), **complete),
        make_record(2, patient="p2", split="test", regions=(), labels=("normal",), **complete),
        make_record(3, patient="p3", split="test", regions=(), labels=("mass",), absent_labels=("normal",)),
        make_record(4, patient="p4", split="test", regions=(), labels=()),
        make_record(5, patient="p5", split="train", regions=boxes[:1], labels=("normal",)),
    ]
    write_table(root / "fake", to_rows(rows), record_schema())
    return root


def corpus(root: Path) -> Path:
    """The pipeline's own folder: records/ and curated/, with presence questions that carry their label."""
    rows = [make_record(k, patient=f"p{k}", split=split) for k, split in enumerate(("test", "test", "train"))]
    pairs = [
        make_pair(
            row, "Is a lung visible in this image? Answer yes or no.", answer, question_type="presence",
            options=("yes", "no"), labels=("lung",),
        )
        for row, answer in zip(rows, ("yes", "no", "no"), strict=True)
    ]  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    return write_corpus(root, rows, pairs)


LAYOUTS = {
    "vqa_rad": vqa_rad, "slake": slake, "pmc_vqa": pmc_vqa, "path_vqa": path_vqa, "omnimedvqa": omnimedvqa,
    "gmai_mmbench": gmai_mmbench, "mmmu_medical": mmmu_medical, "medxpertqa": medxpertqa, "detection": records,
    "diagnosis": records, "report_generation": report_generation, "text_perplexity": text_perplexity,
    "hallucination": corpus,
}  # fmt: skip
