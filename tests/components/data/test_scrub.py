"""What may name a person leaves a text, counted by kind; what is medicine stays to the letter."""

import pytest

from components.data.scrub import scrub, scrub_questions
from components.records import SourceQuestion


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Dr. John Smith reviewed it.", "Dr. [name] reviewed it."),
        ("Mrs O'Neill was seen by Professor Lang.", "Mrs [name] was seen by Professor [name]."),
        ("Patient name: SMITH, JOHN. Lungs clear.", "Patient name: [name]. Lungs clear."),
        ("Electronically signed by Jane Q. Doe, M.D.", "Electronically signed by [name]"),
        ("Radiologist: Jane Doe", "Radiologist: [name]"),
        ("Smith^John^Q came.", "[name] came."),
        ("Read by Ann Lee. MRN: 00123456, Accession No. ACC-90210.",
         "Read by [name]. MRN: [identifier], Accession No. [identifier]."),
        ("SSN 123-45-6789, UID 1.2.840.113619.2.55.3.604688119", "SSN [identifier], UID [identifier]"),
        ("on 03/12/2019, 2019-03-05, 5.3.2019 and 20190305", "on [date], [date], [date] and [date]"),
        ("on 12 March 2019, Mar 3, 2019, March 2019, 5/12/19", "on [date], [date], [date], [date]"),
        ("Call (555) 123-4567 or +44 20 7946 0958.", "Call [phone] or [phone]."),
        ("Write a.b@ward.org or see https://ward.org/x?id=7.", "Write [e-mail] or see [link]."),
        ("lives at 12 Baker Street, London", "lives at [address]"),
        ("A 93-year-old, aged 101, 90 y/o", "A [age over 89], aged [age over 89], [age over 89]"),
        ("姓名：张三丰，住院号：A123456，2019年5月6日，93岁，电话：13812345678",
         "姓名：[name]，住院号：[identifier]，[date]，[age over 89]，电话：[phone]"),
    ],
)  # fmt: skip
def test_what_may_name_a_person_is_replaced_by_its_kind(text, told):
    found, counts = scrub(text)
    assert found == told
    assert counts.total() == told.count("[") and set(counts) <= {kind.strip("[]") for kind in _kinds(told)}


def _kinds(text):
    return [part.partition("]")[0] for part in text.split("[")[1:]]


@pytest.mark.parametrize(
    "text",
    [
        "Radiologist: No acute disease. MR. The lungs are clear.",
        "MS lesions, DR grade 2, Miss rate 3 %.",
        "Signal at T12/L1; 120/80 mmHg; C5/6/7; stage 3-4-5; ratio 1.5.2; 512 x 512.",
        "Compared with 2012, a 58-year-old aged 45; 95% confidence, ages 20 to 90.",
        "Which of these is seen? A large needle driver. The surgeon uses a Maryland Bipolar Forceps.",
        "<ref>liver</ref><box> [[0.18, 0.16, 0.50, 0.43]]</box>",
        "肝脏位于图像左侧，大小约 12.5 cm × 9.3 cm。",
        "May show Hodgkin disease, Crohn's disease or a Baker cyst.",
    ],
)
def test_medicine_stays_to_the_letter(text):
    assert scrub(text) == (text, {})


def test_what_the_row_itself_calls_its_patient_is_found_as_it_is():
    text, counts = scrub("John Smith (smith, john; case AB1234) has a long bone.", ("PAT_JOHN_SMITH", "ab1234"))
    assert text == "[name] ([name]; case [identifier]) has a long bone." and counts == {"name": 2, "identifier": 1}


def test_a_gold_answer_stays_one_of_its_options():
    asked = SourceQuestion("Seen by Dr. Lang on 2019-03-05?", "Dr. Lang", ("Dr. Lang", "nobody"))
    counts = scrub("")[1]
    (told,) = scrub_questions((asked,), (), counts)
    assert told.answer in told.options and told.question == "Seen by Dr. [name] on [date]?"
    assert counts == {"name": 3, "date": 1}
