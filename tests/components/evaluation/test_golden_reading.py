"""Letters, yes and no, denial: how people and models write them, in both languages, and what must be read.

Each table is read by one rule of answers.py; "unread" rows are None, which is wrong and counted.
"""

from __future__ import annotations

import pytest

from components.evaluation.answers import is_abstention, parse_option, parse_yes_no, states

LESIONS = ("mass", "nodule", "cyst", "calcification")


@pytest.mark.parametrize(
    ("text", "expected", "why"),
    [
        ("The answer is a nodule in the lung", 1, "an article is no letter"),
        ("The answer is a nodule.", 1, "an article is no letter"),
        ("Answer: a cyst", 2, "an article is no letter"),
        ("A nodule", 1, "an article at the start"),
        ("Answer: A nodule in the lung", 1, "a capital article after a colon"),
        ("It is not a mass", None, "denied"),
        ("It isn't a mass.", None, "denied"),
        ("It is not a mass but a nodule.", 1, "one is denied, the other stated"),
        ("Not a mass; this is a cyst", 2, "a clause bounds the denial"),
        ("No, it is a nodule", 1, "the comma bounds the no"),
        ("A cyst rather than a mass", 2, "denied by rather than"),
        ("neither mass nor cyst", None, "both denied"),
        ("mass is ruled out, so nodule", 1, "denied from behind"),
        ("There is no doubt that it is a mass", 0, "no doubt denies nothing"),
        ("Not only a mass", 0, "not only denies nothing"),
        ("(b)", 1, "a small letter in brackets"),
        ("b", 1, "a small letter alone"),
        ("b.", 1, "a small letter alone"),
        ("The answer is c", 2, "a small letter that ends the answer"),
        ("the answer is (c), I believe", 2, "a small letter in brackets"),
        ("the answer is a", 0, "a small letter that ends the answer"),
        ("I choose b.", 1, "a small letter that ends the answer, behind a cue"),
        ("hepatitis b", None, "a small letter that ends a name"),
        ("The answer is not B", None, "a denied letter"),
        ("Not A. B", 1, "a denied letter and a stated one"),
        ("B is wrong, C is right", 2, "a letter called wrong"),
        ("Answer: F", None, "no such option"),
        ("Answer: I think it is a nodule", 1, "no such letter: the text is tried"),
        ("Answer: I cannot tell", None, "a pronoun"),
        ("answer is option B", 1, "a word between"),
        ("**Answer:** C", 2, "marks of emphasis"),
        ("Answer: \\boxed{B}", 1, "a box of TeX"),
        ("The correct option is C.", 2, "another cue"),
        ("The answer is A because of its edge", 0, "a reason behind the letter"),
        ("答案是B", 1, "Chinese cue"),
        ("答案：B", 1, "Chinese cue, full-width colon"),
        ("选B。", 1, "Chinese cue"),
        ("正确答案为（C）。", 2, "Chinese cue, full-width brackets"),
        ("我选择 b", 1, "Chinese cue, small letter at the end"),
        ("Ｂ", 1, "full-width letter"),
        ("答案不是B", None, "denied"),
        ("不是A，是C", 2, "a denied letter and a stated one"),
        ("The answer is A. The answer is B.", None, "two statements"),
        ("A or B", None, "two letters"),
    ],
)
def test_letters(text: str, expected: int | None, why: str) -> None:
    assert parse_option(text, LESIONS) == expected, why


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Answer: a benign tumour.", ("malignant tumour", "benign tumour"), 1),
        ("这是B超图像", ("CT", "B超"), 1),
        ("不是肿块，而是结节", ("肿块", "结节", "囊肿"), 1),
        ("未见肿块", ("肿块", "结节"), None),
        (
            "There is no abnormality",
            ("a fracture", "no abnormality"),
            1,
        ),  # an option that denies is stated as it is
        ("not enlarged", ("enlarged", "not enlarged"), 1),
        ("Vitamin A deficiency", ("Vitamin A deficiency", "scurvy"), 0),
    ],
)
def test_option_texts(text: str, options: tuple[str, ...], expected: int | None) -> None:
    assert parse_option(text, options) == expected


@pytest.mark.parametrize(
    ("text", "expected", "why"),
    [
        ("yes or no", None, "both"), ("Yes and no.", None, "both"), ("No, yes", None, "both"),
        ("yes or no? I say no", None, "both"), ("是或否", None, "both"), ("否，是", None, "both"),
        ("yes/no", None, "both"),
        ("not sure", None, "abstains"), ("I'm not sure", None, "abstains"), ("不确定", None, "abstains"),
        ("无法判断", None, "abstains"), ("不是很确定", None, "abstains"), ("not applicable", None, "abstains"),
        ("No image was provided", None, "abstains"), ("Yes, but I am not certain", None, "abstains"),
        ("不知道", None, "abstains"), ("不清楚", None, "abstains"), ("难以判断", None, "abstains"),
        ("Not necessarily", None, "abstains"), ("N/A", None, "abstains"), ("有可能", None, "possible is no yes"),
        ("是否存在？", None, "a question"), ("有没有病变", None, "a question"),
        ("The answer is yes", "yes", "behind a cue"), ("Answer: No.", "no", "behind a cue"),
        ("I think yes", "yes", "the one verdict"), ("I would say no.", "no", "the one verdict"),
        ("There is no effusion", "no", "POPE's no"), ("There isn't any effusion.", "no", "POPE's no"),
        ("There are no lesions.", "no", "POPE's no"), ("There is an effusion.", "yes", "POPE's yes"),
        ("No effusion is seen.", "no", "it opens with no"),
        ("Yes, there is no effusion", "yes", "the no belongs to the effusion"),
        ("No, the liver cannot be seen", "no", "not seen is an answer"),
        ("Not visible.", "no", "it opens with not"), ("Correct, no effusion", "yes", "it opens with yes"),
        ("Not only the liver", None, "denies nothing"),
        ("答案是有", "yes", "Chinese cue"), ("答案：否", "no", "Chinese cue"), ("对", "yes", "one word"),
        ("不存在病变", "no", "it opens with no"), ("存在病变", "yes", "it opens with yes"),
        ("ＹＥＳ", "yes", "full-width letters"), ("**Yes**", "yes", "marks of emphasis"),
        ("The nose", None, "no word"), ("Knowledge", None, "no word"),
    ],
)  # fmt: skip
def test_yes_and_no(text: str, expected: str | None, why: str) -> None:
    assert parse_yes_no(text) == expected, why


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("It isn't enlarged", "enlarged", False), ("never seen enlarged", "enlarged", False),
        ("not very much enlarged", "enlarged", False), ("The heart is enlarged, not the liver", "enlarged", True),
        ("The liver is not seen; the heart is enlarged", "enlarged", True),
        ("Effusion is absent", "effusion", False), ("absence of effusion", "effusion", False),
        ("no evidence of an effusion", "effusion", False), ("Not on the left, but on the right", "right", True),
        ("It isn’t on the left", "left", False), ("left, no doubt", "left", True),
        ("病变不在左侧", "左侧", False), ("没有看到左侧", "左侧", False), ("不在右侧，而在左侧", "左侧", True),
        ("not enlarged", "not enlarged", True), ("It is not enlarged.", "not enlarged", True),
        ("right, lower lobe", "right lower lobe", True),
    ],
)  # fmt: skip
def test_denied_answers_are_not_stated(text: str, gold: str, expected: bool) -> None:
    assert states(text, gold) is expected


@pytest.mark.parametrize("text", ["I'm not sure.", "It is uncertain", "不是很确定", "不太确定", "难以判断"])
def test_doubt_is_an_abstention(text: str) -> None:
    assert is_abstention(text)
