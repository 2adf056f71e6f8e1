"""Cards of the same people share a namespace and agree on the key; the page that says so is that of the cards."""

from __future__ import annotations

import re
from pathlib import Path

from components.data.card import load_card
from components.data.catalog import card_files
from components.data.reading import ReadContext, patient_name
from tests.fakes.from_card import build
from tests.fakes.sources import read_all

CARDS = {name: load_card(path) for name, path in card_files(Path("conf/sources")).items()}
PAGE = Path("docs/shared_people.md").read_text()
CONTEXT = ReadContext(max_side=64, secret=b"test key")
ROW = re.compile(r"^\| `([a-z0-9_]+)` \| [^|]+ \| (.+) \|$", re.MULTILINE)


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z0-9_]+)`", cell))


def test_the_page_lists_the_shared_namespaces_of_the_cards():
    shared: dict[str, set[str]] = {}
    for name, path in card_files(Path("conf/sources")).items():
        if path.parent != Path("conf/sources"):
            shared.setdefault(CARDS[name].patient.namespace or name, set()).add(name)
    told = {namespace: named(cards) for namespace, cards in ROW.findall(PAGE)}
    assert told == {namespace: names for namespace, names in shared.items() if len(names) > 1}


def test_the_page_names_cards_that_are_there():
    rows = PAGE.split("under other names")[1]
    assert named(rows) <= CARDS.keys()


def test_two_cards_of_one_person_give_one_key(tmp_path):
    pairs = [("medical_diff_vqa", "mimic_cxr_r2gen"), ("openi_iu_xray", "iu_xray_r2gen")]
    pairs += [("rhuh_gbm", "mmis_2024_task2"), ("cholecseg8k", "cholec80")]
    for first, second in pairs:
        keys = [{record.patient_key for record in read(name, tmp_path)} for name in (first, second)]
        assert keys[0] & keys[1], (first, second)


def read(name: str, folder: Path):
    build(folder / name, CARDS[name])
    records, refused = read_all(folder / name, CARDS[name], CONTEXT)
    assert not refused
    return records


def test_a_mimic_person_has_one_name_whatever_the_card():
    path = "images/p10/p10000032/s50414267/02aa804e.jpg"
    told = {patient_name(CARDS[name], path, "") for name in ("medical_diff_vqa", "mimic_cxr_r2gen")}
    assert told == {"10000032"}
    assert patient_name(CARDS["medical_diff_vqa"], "images/000017.jpg", "") == ""  # patient_unknown, never guessed
