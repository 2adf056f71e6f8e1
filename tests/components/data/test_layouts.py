"""Every card's paths occur in the published file tree of its data set; a fake alone would follow a wrong card."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from components.data.card import load_card
from components.data.catalog import card_files
from tests.fakes.layouts import extract, names_of, not_published, plain, published, published_as, words_and_endings

REAL = Path("conf/sources")
UNKNOWN = Path("docs/unknown_layouts.md")
FILES = {name: path for name, path in card_files(REAL).items() if path.parent != REAL}
CARDS = {name: load_card(path) for name, path in FILES.items()}
TIED = sorted(name for name, card in CARDS.items() if published_as(card))
OWN = "the publisher's or challenge's own tree, which the facts re-arrange; see the card's notes"
CUT = "videos in a codec that is not carried: the frames that ffmpeg cuts of them are read"
DOUBT = "in doubt: docs/unknown_layouts.md"
# Card -> since when, which words and endings the facts' tree does not show, and why the card has them.
EXCEPTIONS: dict[str, tuple[date, tuple[str, ...], str]] = {
    "cataract_1k": (date(2026, 11, 27), (".png",), CUT),
    "cataract_1k_segmentation": (date(2026, 11, 27), (".json",), DOUBT),
    "chexpert_plus": (date(2026, 11, 27), ("plus",), "the table's name carries the data set's"),
    "colonoscopic": (date(2026, 11, 27), (".png",), CUT),
    "eyepacs": (date(2026, 11, 27), (".csv", "trainlabels"), OWN),
    "isic_2017": (date(2026, 11, 27), ("groundtruth", "part"), OWN),
    "kvasir_capsule": (date(2026, 11, 27), (".jpg", ".png"), "the tree shows archives, the card what is in them"),
    "maples_dr": (date(2026, 11, 27), (".png", "images"), DOUBT),
    "messidor_2": (date(2026, 11, 27), (".csv", "data"), OWN),
    "pathvqa": (date(2026, 11, 27), (".parquet", "data", "validation"), "the Hugging Face copy, paper.md 6.10"),
    "pi_cai": (
        date(2026, 11, 27),
        (".nii.gz", "cspca", "delineations", "expert", "human", "labels", "lesion", "picai", "resampled"),
        "the annotations are a repository of their own, which the tree of the images does not show",
    ),
    "pmc_inline": (date(2026, 11, 27), ("images",), DOUBT),
    "psfhs_2023": (date(2026, 11, 27), ("image", "label"), DOUBT),
    "quilt_instruct": (date(2026, 11, 27), ("images",), DOUBT),
    "sinus_surgery_cadaver": (date(2026, 11, 27), (".png",), DOUBT),
    "vqa_rad": (date(2026, 11, 27), ("testset", "trainset"), "the released split, paper.md 6.1"),
    "vqa_rad_parquet": (date(2026, 11, 27), (".parquet", "test", "train"), "the Hugging Face copy, paper.md 6.1"),
    "wmh": (date(2026, 11, 27), ("flair", "pre"), "the tree shows the label alone, not the image"),
}  # fmt: skip


@pytest.mark.parametrize("name", TIED)
def test_a_cards_paths_are_those_of_the_published_tree(name):
    allowed = EXCEPTIONS[name][1] if name in EXCEPTIONS else ()
    assert not_published(CARDS[name]) == tuple(sorted(allowed))  # fewer than allowed: shorten the exception


def test_exceptions_are_of_cards_that_are_there_and_doubtful_ones_are_listed():
    assert EXCEPTIONS.keys() <= set(TIED)
    for name, (_, missing, reason) in EXCEPTIONS.items():
        assert missing and reason
        assert ("Layout in doubt" in CARDS[name].notes) == (reason == DOUBT), name


def test_a_wrong_glob_is_seen():
    card = CARDS["fives"]
    assert not_published(card) == ()
    options = {**card.options, "images": ["*/Pictures/*.bmp"]}
    assert not_published(card.model_copy(update={"options": options})) == (".bmp", "pictures")


def test_words_and_endings_are_the_literal_parts_of_paths():
    words, endings = words_and_endings(CARDS["isic_2017"])
    assert words == {"isic", "data", "part", "groundtruth", "segmentation"}
    assert endings == {"jpg", "png"}


def test_a_drawn_tree_becomes_names_without_rules_and_numbers():
    cases = "".join(f"│   ├── Case_0000{number}_0000.nii.gz\n" for number in (1, 2))
    tree = f"SET/\n│\n├── imagesTr\n{cases}│   └── ...\n|-- a.csv"
    assert names_of(tree) == ["SET/", "imagesTr", "Case_#_#.nii.gz", "a.csv"]
    assert extract([{"name": "SET", "layout": "a\nb"}]) == {"SET": {"names": ["a", "b"], "formats": ""}}


def test_every_published_data_set_has_a_card_or_a_reason():
    carded = {published_as(CARDS[name]) for name in TIED}
    listed = UNKNOWN.read_text().split("## Published data sets without a card")[1]
    told = {
        plain(name) for cell in re.findall(r"\| ([^|]+) \|$", listed, re.MULTILINE) for name in cell.split(", ")
    }
    without = {name for name in published() if name not in carded}
    assert {name for name in without if plain(name) not in told} == set()
    assert {name for name in carded if plain(name) in told} == set()  # a card came: take its row out
    assert len(published()) == 380
