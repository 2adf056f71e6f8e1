"""Sentences of chest reports with what they say of each finding, labelled by hand before the rules were run.

+ stated, - denied, ? doubtful, of CheXpert's 14 labels ("No Finding" is worked out, not stated). HARD holds
sentences the rules get wrong: they stay here so that the agreement that the card states is of all of them.
"""

from __future__ import annotations

import pytest

from components.evaluation.catalog import find_benchmark
from components.evaluation.metrics_clinical import label_report

NAMES = {
    "mediastinum": "Enlarged Cardiomediastinum", "heart": "Cardiomegaly", "opacity": "Lung Opacity",
    "lesion": "Lung Lesion", "edema": "Edema", "consolidation": "Consolidation", "pneumonia": "Pneumonia",
    "atelectasis": "Atelectasis", "pneumothorax": "Pneumothorax", "effusion": "Pleural Effusion",
    "pleura": "Pleural Other", "fracture": "Fracture", "devices": "Support Devices",
}  # fmt: skip
SIGNS = {"+": "present", "-": "absent", "?": "doubtful"}
GOLDEN = [
    # where a denial ends
    ("No pneumothorax, small left pleural effusion.", "-pneumothorax +effusion"),
    ("There is no pneumothorax and a small left pleural effusion is present.", "-pneumothorax +effusion"),
    ("No pneumothorax, pleural effusion, or consolidation.", "-pneumothorax -effusion -consolidation"),
    ("No focal consolidation, effusion or pneumothorax is seen.", "-consolidation -effusion -pneumothorax"),
    ("No evidence of pneumonia, edema, or effusion.", "-pneumonia -edema -effusion"),
    ("No pneumothorax or effusion.", "-pneumothorax -effusion"),
    ("No pneumothorax, effusion.", "-pneumothorax -effusion"),
    ("No pneumothorax and no effusion.", "-pneumothorax -effusion"),
    ("No focal consolidation, pleural effusion, and pneumothorax.", "-consolidation -effusion -pneumothorax"),
    ("Neither pneumothorax nor effusion is seen.", "-pneumothorax -effusion"),
    ("There is no pneumothorax, but a moderate effusion persists.", "-pneumothorax +effusion"),
    ("No pneumothorax; bibasilar atelectasis.", "-pneumothorax +atelectasis"),
    ("No pneumothorax, there is bibasilar atelectasis.", "-pneumothorax +atelectasis"),
    ("No consolidation, and the heart is enlarged.", "-consolidation +heart"),
    ("No acute consolidation, stable cardiomegaly.", "-consolidation +heart"),
    ("No effusion, mild pulmonary edema.", "-effusion +edema"),
    ("Lungs are clear without consolidation, effusion, or pneumothorax.",
     "-consolidation -effusion -pneumothorax"),
    ("Small left pleural effusion without pneumothorax.", "+effusion -pneumothorax"),
    ("Left effusion, no pneumothorax.", "+effusion -pneumothorax"),
    ("The lungs are free of consolidation and the ribs show an old fracture.", "-consolidation +fracture"),
    ("Negative for pneumonia, with a new right rib fracture.", "-pneumonia +fracture"),
    ("There isn't any effusion.", "-effusion"),
    ("The patient never had a pneumothorax.", "-pneumothorax"),
    ("Absence of pleural effusion.", "-effusion"),
    ("No large pneumothorax, large pleural effusion, or acute fracture.", "-pneumothorax -effusion -fracture"),
    ("No pneumothorax, small left effusion with adjacent atelectasis or consolidation.",
     "-pneumothorax +effusion +atelectasis +consolidation"),
    # denial from behind
    ("Pneumothorax is not seen.", "-pneumothorax"),
    ("Pleural effusion and pneumothorax are absent.", "-effusion -pneumothorax"),
    ("Effusion, pneumothorax, and consolidation are not identified.", "-effusion -pneumothorax -consolidation"),
    ("The left effusion has resolved.", "-effusion"),
    ("Effusion is present and pneumothorax is absent.", "+effusion -pneumothorax"),
    ("Pneumonia has been ruled out.", "-pneumonia"),
    ("The endotracheal tube has been removed.", "-devices"),
    ("Interval removal of the chest tube.", "-devices"),
    ("Endotracheal tube and right chest tube have been removed.", "-devices"),
    ("Resolution of the right effusion.", "-effusion"),
    # no denial at all
    ("No significant change in the moderate effusion.", "+effusion"),
    ("No interval increase in the left effusion.", "+effusion"),
    ("Moderate effusion without significant change.", "+effusion"),
    ("Effusion is not significantly changed.", "+effusion"),
    ("Not only consolidation but also effusion.", "+consolidation +effusion"),
    ("Unchanged cardiomegaly.", "+heart"),
    ("Endotracheal tube in place.", "+devices"),
    ("Nodule of 1.5 cm in the right lung.", "+lesion"),
    # doubt
    ("Left effusion is present, with possible consolidation.", "+effusion ?consolidation"),
    ("Possible pneumonia in the right base.", "?pneumonia"),
    ("Possible pneumonia or atelectasis.", "?pneumonia ?atelectasis"),
    ("Cannot exclude pneumonia.", "?pneumonia"),
    ("Pneumonia cannot be excluded.", "?pneumonia"),
    ("Pneumonia is not excluded.", "?pneumonia"),
    ("Pneumonia is possible.", "?pneumonia"),
    ("Right basilar opacity may represent atelectasis or pneumonia.", "+opacity ?atelectasis ?pneumonia"),
    ("Bibasilar opacities, likely atelectasis.", "+opacity ?atelectasis"),
    ("Atelectasis versus pneumonia.", "?atelectasis ?pneumonia"),
    ("Opacity concerning for pneumonia, and a small effusion.", "+opacity ?pneumonia +effusion"),
    ("Cardiomegaly with suspected edema.", "+heart ?edema"),
    ("Possible edema without effusion.", "?edema -effusion"),
    ("Small effusion is likely.", "?effusion"),
    ("Left effusion, likely small.", "+effusion"),
    ("There may be a tiny pneumothorax.", "?pneumothorax"),
    ("Findings suggest mild edema; there is a moderate effusion.", "?edema +effusion"),
    ("No effusion. Effusion may be there.", "?effusion"),
    # Chinese
    ("未见气胸，左侧胸腔积液。", "-pneumothorax +effusion"),
    ("未见气胸、胸腔积液。", "-pneumothorax -effusion"),
    ("未见气胸及胸腔积液征象。", "-pneumothorax -effusion"),
    ("双肺未见实变，心影增大。", "-consolidation +heart"),
    ("右侧胸腔积液，气胸已吸收。", "+effusion -pneumothorax"),
    ("右下肺炎可能。", "?pneumonia"),
    ("右下肺斑片影，考虑肺炎。", "+opacity ?pneumonia"),
    ("不除外肺炎。", "?pneumonia"),
    ("肺炎待排，心影增大。", "?pneumonia +heart"),
    ("排除气胸。", "-pneumothorax"),
    ("胸腔积液未见明显变化。", "+effusion"),
    ("胸腔积液无明显变化，未见骨折。", "+effusion -fracture"),
    ("未见骨折，可疑结节。", "-fracture ?lesion"),
    ("没有气胸,右侧少量胸腔积液", "-pneumothorax +effusion"),
    ("引流管已拔除。", "-devices"),
    ("左侧胸膜增厚，无胸腔积液。", "+pleura -effusion"),
    # a line's end is not always a sentence's
    ("No pneumothorax or\npleural effusion.", "-pneumothorax -effusion"),
    ("No pneumothorax\nCardiomegaly", "-pneumothorax +heart"),
]  # fmt: skip
HARD = [
    ("The previously seen effusion is now gone.", "-effusion"),
    ("Pneumonia? Effusion on the left.", "?pneumonia +effusion"),
    ("Patient with history of pneumonia, lungs now clear.", "-pneumonia"),
    ("Chest tube was taken out yesterday.", "-devices"),
]


def labelled(marks: str) -> dict[str, str]:
    return {NAMES[mark[1:]]: SIGNS[mark[0]] for mark in marks.split()}


@pytest.mark.parametrize(("sentence", "marks"), GOLDEN)
def test_what_a_sentence_says(sentence: str, marks: str) -> None:
    assert label_report(sentence) == labelled(marks)


def test_the_card_states_the_agreement() -> None:
    """The card says how many of all labelled sentences are read as labelled, the hard ones among them."""
    agreed = [label_report(sentence) == labelled(marks) for sentence, marks in (*GOLDEN, *HARD)]
    stated = f"agrees with {sum(agreed)} of {len(agreed)} sentences"
    assert stated in find_benchmark("report_generation").card.known_limits
    assert len(GOLDEN) >= 60


def test_a_hard_sentence_that_is_read_is_no_longer_hard() -> None:
    assert all(label_report(sentence) != labelled(marks) for sentence, marks in HARD)
