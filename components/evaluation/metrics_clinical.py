"""Findings stated in a chest report, by rule: the 14 of CheXpert, with negation and doubt, English and Chinese.

The 14 observations and their meaning are CheXpert's (Irvin et al., AAAI 2019); negation works as in NegEx
(Chapman et al., J Biomed Inform 2001): a cue holds from where it stands to the end of its clause, a few cues
hold backwards. Written here from scratch and offline; it is not CheXbert, and its F1 is not comparable with
CheXbert's. A doubtful finding counts as not stated, as in R2Gen's clinical efficacy (-1 -> 0). "No Finding"
holds when nothing but support devices is stated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Status = Literal["present", "absent", "doubtful"]
NO_FINDING, DEVICES = "No Finding", "Support Devices"
FINDINGS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        r"(?:widen\w*|enlarge\w*|prominent) (?:of the )?(?:cardio)?mediastin\w+", r"mediastin\w+ (?:is |are )?"
        r"(?:mildly |markedly )?(?:widen\w*|enlarge\w*)", "纵隔增宽", "纵隔影增宽",
    ),
    "Cardiomegaly": (
        "cardiomegaly",
        r"(?:heart|cardiac silhouette|cardiac)(?: size)? (?:is |appears |remains )?"
        r"(?:mildly |moderately |severely |markedly )?enlarged",
        r"enlarged (?:heart|cardiac silhouette)",
        r"enlargement of the (?:heart|cardiac silhouette)", "心影增大", "心脏增大", "心脏扩大",
    ),
    "Lung Opacity": (r"opacit(?:y|ies)", r"opacification\w*", r"infiltrates?", "密度增高影", "斑片影", "模糊影"),
    "Lung Lesion": (r"nodul(?:e|es|ar)", r"mass(?:es)?", r"(?:lung|pulmonary) lesions?", "结节", "肿块"),
    "Edema": (r"o?edema", r"vascular congestion", "肺水肿"),
    "Consolidation": (r"consolidat\w+", "实变"),
    "Pneumonia": (r"pneumonia\w*", "肺炎"),
    "Atelectasis": (r"atelecta\w+", r"collapse", "肺不张", "膨胀不全"),
    "Pneumothorax": (r"pneumothora(?:x|ces)", "气胸"),
    "Pleural Effusion": (
        r"(?:pleural|bilateral|left|right|small|large|moderate) (?:pleural )?(?:effusions?|fluid)", r"effusions?",
        "胸腔积液", "胸水",
    ),
    "Pleural Other": (r"pleural thickening", r"pleural scar\w*", "胸膜增厚", "胸膜粘连"),
    "Fracture": (r"fractures?", "骨折"),
    DEVICES: (
        r"(?:endotracheal|nasogastric|enteric|chest|tracheostomy) tubes?", r"pacemaker", r"catheters?", r"picc",
        r"(?:central )?(?:venous )?lines? (?:tip|terminates|ends)", r"sternotomy wires", r"defibrillator",
        "起搏器", "导管", "引流管", "气管插管",
    ),
}  # fmt: skip
LABELS: tuple[str, ...] = (NO_FINDING, *FINDINGS)
DENIED = re.compile(
    r"\b(?:no|not|without|negative for|free of|absence of|absent|resolved|rather than|denies|exclude[sd]?)\b"
    r"|未见|没有|无(?!法)|未发现|不支持|排除"
)
DENIED_BACKWARDS = re.compile(
    r"^\W*(?:\w+ ){0,3}?(?:(?:is|are|was|were|has|have) )?(?:not (?:seen|identified|present|evident|visualized)|"
    r"absent|resolved|excluded|ruled out)|^(?:未见|消失|已吸收)"
)
DOUBTED = re.compile(
    r"\b(?:may|might|could|possibl[ey]|probabl[ey]|suspicious|suspected|suspicion|questionable|cannot (?:be )?"
    r"(?:exclude[d]?|rule[d]? out)|not (?:be )?excluded|likely|suggest\w*|concerning for|versus|vs)\b"
    r"|可能|可疑|疑似|待排|不除外|考虑"
)
NO_DENIAL = re.compile(
    r"\b(?:no (?:significant |interval |definite )*(?:change|increase)|not only)\b|无(?:明显)?变化"
)
CLAUSES = re.compile(r"[.;:!?\n。；！？：]|\b(?:but|however|although|except|aside from|other than)\b|但|除")


def label_report(text: str) -> dict[str, Status]:
    """Return what a report says of each finding it mentions; a clause that affirms outweighs one that denies."""
    found: dict[str, Status] = {}
    for clause in CLAUSES.split(text.lower()):
        for label, patterns in FINDINGS.items():
            for status in _statuses(clause, patterns):
                found[label] = _stronger(found.get(label), status)
    return found


def _statuses(clause: str, patterns: Sequence[str]) -> list[Status]:
    return [
        _status(clause[: match.start()], clause[match.end() :])
        for pattern in patterns
        for match in re.finditer(_whole(pattern), clause)
    ]


def _whole(pattern: str) -> str:
    return rf"\b(?:{pattern})\b" if pattern.isascii() else pattern


def _status(before: str, after: str) -> Status:
    if DOUBTED.search(before) or DOUBTED.search(after):
        return "doubtful"
    return "absent" if DENIED.search(NO_DENIAL.sub("", before)) or DENIED_BACKWARDS.search(after) else "present"


def _stronger(old: Status | None, new: Status) -> Status:
    order: tuple[Status, ...] = ("absent", "doubtful", "present")
    return new if old is None or order.index(new) > order.index(old) else old


def positive_labels(text: str) -> frozenset[str]:
    """Return the labels that a report states; an empty text states none, not even "No Finding"."""
    stated = {label for label, status in label_report(text).items() if status == "present"}
    if text.strip() and not stated - {DEVICES}:
        stated.add(NO_FINDING)
    return frozenset(stated)


def clinical_f1(predicted: str, reference: str) -> float:
    """Return F1 of the labels stated in two reports."""
    said, wanted = positive_labels(predicted), positive_labels(reference)
    return 2 * len(said & wanted) / (len(said) + len(wanted)) if said or wanted else 1.0


def corpus_clinical_f1(predicted: Sequence[str], references: Sequence[str], *, average: str) -> float:
    """Return micro or macro F1 over the 14 labels; macro leaves out labels that nobody states.

    R2Gen's macro counts such a label as 0, which punishes a small test set for what is not in it.
    """
    counts = {label: [0, 0] for label in LABELS}  # agreed, stated by either side added up
    for said, wanted in zip(map(positive_labels, predicted), map(positive_labels, references), strict=True):
        for label in said | wanted:
            counts[label][0] += label in said and label in wanted
            counts[label][1] += (label in said) + (label in wanted)
    used = [(agreed, stated) for agreed, stated in counts.values() if stated]
    if average == "micro":
        total = sum(stated for _, stated in used)
        return 2 * sum(agreed for agreed, _ in used) / total if total else 0.0
    return sum(2 * agreed / stated for agreed, stated in used) / len(used) if used else 0.0
