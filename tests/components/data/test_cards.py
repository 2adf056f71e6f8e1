"""Every committed card reads a fake of its source into records that say what was planted, no more and no less."""

from __future__ import annotations

import functools
import re
from datetime import date
from pathlib import Path

import pytest

from components.data.card import Card, load_card
from components.data.catalog import card_files
from components.data.reading import ReadContext
from components.records import DEPARTMENTS, MODALITIES, NOT_STATED, Record, Region
from components.settings import load_settings
from tests.fakes.from_card import BUILDERS, build, published_names
from tests.fakes.planted import Planted
from tests.fakes.sources import read_all

REAL = Path("conf/sources")
UNKNOWN = Path("docs/unknown_layouts.md")
FILES = card_files(REAL)
# The sample corpus has its own fakes in tests/fakes/sources.py, and real files in data/.
SAMPLE = {path.stem for path in REAL.glob("*.yaml")}
FAKED = sorted(FILES.keys() - SAMPLE)
CONTEXT = ReadContext(max_side=64, secret=b"test key")
LEAST = 219  # the paper's count of specialised data sets (section 3.1)
OURS = 225  # of specialised sets alone, without the mixture's and the benchmarks' sources


@functools.cache
def card_named(name: str) -> Card:
    return load_card(FILES[name])


@pytest.mark.parametrize("name", FAKED)
def test_a_fake_of_the_source_reads_into_what_was_planted(name, tmp_path):
    card = card_named(name)
    planted = build(tmp_path, card)
    records, refused = read_all(tmp_path, card, CONTEXT)
    assert refused == []
    assert records
    check_statements(records, planted)
    check_regions(records, planted)
    check_places(records, card, planted)


def check_statements(records: list[Record], planted: Planted) -> None:
    assert {label for record in records for label in record.labels} == planted.labels
    found = {(q.question, q.answer) for record in records for q in record.questions}
    assert found == planted.questions
    texts = {record.text for record in records if record.text}
    assert len(texts) == len(planted.texts)
    assert all(any(text in found for found in texts) for text in planted.texts)


def check_regions(records: list[Record], planted: Planted) -> None:
    regions = [region for record in records for region in record.regions]
    assert {(region.label, region.side) for region in regions} == planted.regions
    assert all(bool(region.mask) == planted.has_masks for region in regions)
    for label, box in planted.boxes:
        assert any(region.label == label and overlap(region, box) > 0.9 for region in regions), label


def check_places(records: list[Record], card: Card, planted: Planted) -> None:
    assert all(record.source == card.name and record.patient_key for record in records)
    assert {record.licence for record in records} == {card.licence}
    if planted.splits:
        assert {record.split for record in records} == planted.splits


def overlap(region: Region, box: tuple[float, ...]) -> float:
    """Intersection over union."""
    left, top = max(region.box[0], box[0]), max(region.box[1], box[1])
    right, bottom = min(region.box[2], box[2]), min(region.box[3], box[3])
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (region.box, box))
    return shared / (areas - shared)


def in_doubt() -> dict[str, date]:
    """The first table of docs/unknown_layouts.md: card -> since when its layout is in doubt."""
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (\d{4}-\d\d-\d\d) \|", UNKNOWN.read_text(), flags=re.MULTILINE)
    return {name: date.fromisoformat(day) for name, day in rows}


def counted() -> list[Card]:
    return [card_named(name) for name in FAKED if name not in in_doubt() and name not in GENERAL]


def publications(cards: list[Card]) -> set[str]:
    """Two cards of one data set (its CT and its PET, two copies) name the same publication and count once."""
    return {card.name if card.citation == NOT_STATED else card.citation for card in cards}


def test_the_papers_count_of_medical_data_sets_is_reached():
    general = ("mixture", "benchmarks")
    specialised = [card for card in counted() if FILES[card.name].parent.name not in general]
    assert len(publications(specialised)) >= OURS > LEAST
    assert len(publications(counted())) > len(publications(specialised))


def test_absence_is_not_asked_where_the_card_says_so():
    told = [card for card in map(card_named, FAKED) if re.search(r"absence[^.]*must not be asked", card.notes)]
    assert {card.name for card in told} >= {"acouslic_2024", "busi_masks", "flare_2023", "lnq_2023"}
    assert all(card.options["complete"] is False for card in told)


def test_every_modality_and_department_of_the_paper_has_a_card():
    cards = counted()
    assert {card.modality for card in cards} - {NOT_STATED} == set(MODALITIES) - {"Nuclear medicine"}
    assert {card.department for card in cards} - {NOT_STATED} == set(DEPARTMENTS)


def test_the_dated_list_of_layouts_in_doubt_is_that_of_the_cards():
    doubtful = {name for name in FAKED if "Layout in doubt" in card_named(name).notes}
    assert doubtful == set(in_doubt())


def test_terms_that_the_facts_do_not_state_are_not_stated():
    for card in map(card_named, FAKED):
        assert set(card.terms.model_dump().values()) == {NOT_STATED}
        assert (card.revision, card.sha256) == (NOT_STATED, {})


def test_every_reader_of_a_card_has_a_builder_of_fakes():
    assert {card_named(name).reader for name in FAKED} <= set(BUILDERS)
    assert published_names().keys() <= set(FAKED)


def test_the_sample_corpus_is_not_among_them():
    assert set(load_settings().corpus.sources) <= SAMPLE


# Table 10 of the paper: the sources of its training mixture, and the cards that read them.
MIXTURE = {
    "ALLaVA": "allava", "ShareGPT4V (caption)": "sharegpt4v_caption", "GMAI-Caption": "gmai_mm_caption",
    "PubMedVision (caption)": "pubmedvision_alignment", "MedICaT": "medicat", "MPx-Single": "mpx_single",
    "PMC-OA": "pmc_oa", "QUILT-1M": "quilt_1m", "Retina Image Bank": "retina_image_bank",
    "CheXpertPlus": "chexpert_plus", "MIMIC-CXR": "mimic_cxr_r2gen", "OpenI": "openi_iu_xray",
    "GeoQA+": "geoqa_plus", "AI2D": "ai2d", "SynthDoG": "synthdog", "ChartQA": "chartqa",
    "MMChemExam": "mmchemexam", "LLaVA-Instruct": "llava_instruct", "DVQA": "dvqa", "DocVQA": "docvqa",
    "GMAI-Percept": "gmai_mm_percept", "GMAI-Instruct": "gmai_mm_instruct",
    "PubMedVision (instruct)": "pubmedvision_instruction", "LLaVA-Med-60k": "llava_med_60k",
    "PMC-Inline": "pmc_inline", "VQA-Med-2019": "vqa_med_2019", "Medical-Diff-VQA": "medical_diff_vqa",
    "PathVQA": "pathvqa", "PMC-CaseReport": "pmc_casereport", "PMC-VQA": "pmc_vqa", "ROCOv2": "rocov2",
    "SLAKE": "slake", "VQA-RAD": "vqa_rad", "blossom_orca": "blossom_orca", "COIG-CQIA": "coig_cqia",
    "Cosmopedia-100k": "cosmopedia_100k", "ShareGPT4V (text)": "sharegpt4v_text", "Orca-Math": "orca_math",
    "Leetcode": "leetcode", "LogiQA": "logiqa", "Lima": "lima", "OpenHermes2.5": "openhermes_2_5",
    "Firefly": "firefly", "UltraChat": "ultrachat", "Alpaca": "alpaca",
    "GMAI-Text-Single": "gmai_text_single", "GMAI-Text-Multi": "gmai_text_multi",
}  # fmt: skip
# Those of the mixture that are no medical data.
GENERAL = {
    "allava", "sharegpt4v_caption", "geoqa_plus", "ai2d", "synthdog", "chartqa", "mmchemexam", "llava_instruct",
    "dvqa", "docvqa", "blossom_orca", "coig_cqia", "cosmopedia_100k", "sharegpt4v_text", "orca_math", "leetcode",
    "logiqa", "lima", "openhermes_2_5", "firefly", "ultrachat", "alpaca",
}  # fmt: skip
# Benchmarks whose training split is published, and benchmarks without one, of which every record is test.
TRAINING_SPLITS = ("vqa_rad", "slake", "pmc_vqa", "pmc_vqa_v1", "pathvqa", "vqa_med_2019", "iu_xray_r2gen")
TEST_ALONE = ("omnimedvqa", "mmmu_health_medicine", "medical_multimodal_evaluation")


def test_every_source_of_the_papers_mixture_has_a_card():
    assert len(MIXTURE) == 47
    assert set(MIXTURE.values()) >= GENERAL
    for name in MIXTURE.values():
        assert FILES[name].parent.name == "mixture"
        assert "paper's mixture" in card_named(name).notes


@pytest.mark.parametrize("name", TRAINING_SPLITS)
def test_a_benchmarks_training_split_is_read_as_training(name, tmp_path):
    card = card_named(name)
    build(tmp_path, card)
    records, _ = read_all(tmp_path, card, CONTEXT)
    assert "train" in {record.split for record in records}


@pytest.mark.parametrize("name", TEST_ALONE)
def test_a_benchmark_without_a_training_split_is_never_trained_on(name, tmp_path):
    card = card_named(name)
    build(tmp_path, card)
    records, _ = read_all(tmp_path, card, CONTEXT)
    assert {record.split for record in records} == {"test"}
