"""Findings stated in a chest report, by rule: the 14 of CheXpert, with negation and doubt, English and Chinese.

The 14 observations and their meaning are CheXpert's (Irvin et al., AAAI 2019); negation works as in NegEx
(Chapman et al., J Biomed Inform 2001), its scope ending as in ConText (Harkema et al., 2009): a cue holds over the
list that it opens ("no A, B, or C"), and ends at a new assertion ("no A, small left B"; "no A and a B is
present"), at a Chinese comma, or at the clause; a few cues hold backwards. Doubt holds over a few words. Written
here from scratch and offline; it is not CheXbert, and its F1 is not comparable with CheXbert's. A doubtful
finding counts as not stated, as in R2Gen's clinical efficacy (-1 -> 0). "No Finding" holds when nothing but
support devices is stated. The benchmark's card states how
many sentences labelled by hand it reads rightly (test_golden_reports.py).
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
    r"\b(?:no|not|never|neither|nor|without|negative for|free of|clear of|absence of|lack of|absent|resolved"
    r"|resolution of(?: the)?|removal of(?: the)?|rather than|denies|exclude[sd]?)\b|n't\b"
    r"|未见|没有|无(?!法)|未发现|未及|不支持|(?<!待)排除|(?<!不)除外"
)
TO_BE = r"(?:is|are|was|were|has been|have been|has|have)"
UNSEEN = r"not (?:\w+ )?(?:seen|identified|present|evident|visuali[sz]ed|noted|appreciated|demonstrated)"
LIST_BEHIND = r"^(?:(?:,| and| or)+(?! (?:is|are|was|were|has|have|with|there|no)\b)(?: [\w-]+){1,3}){0,4}"
DENIED_BACKWARDS = re.compile(
    rf"{LIST_BEHIND}(?: in the [\w ]+?)? {TO_BE} (?:now |all |since )?(?:{UNSEEN}|absent|resolved|excluded"
    r"|ruled out|removed|withdrawn)\b|^(?:影|征象)?(?:未见(?!明?显?(?:变化|改变))|消失"
    r"|已(?:完全|基本)?(?:吸收|排除|拔除)|拔除)"
)
DOUBTED = re.compile(
    r"\b(?:may|might|could|possibl[ey]|probabl[ey]|suspicious for|suspected|suspicion (?:of|for)|questionable"
    r"|(?:cannot|can not|not|difficult to) (?:be )?(?:exclude[d]?|rule[d]? out)|likely|suggest\w*|concerning for"
    r"|concern for|versus|vs)\b|可能|可疑|疑似|不除外|不能排除|考虑"
)
DOUBTED_BACKWARDS = re.compile(
    rf"^(?: \w+){{0,2}}? {TO_BE} (?:also )?(?:likely|probable|possible|suspected|questionable|questioned"
    r"|considered)\s*(?:$|,)|^(?: \w+){0,2}? (?:cannot|can not|could not|is not|are not|not) (?:be )?"
    r"(?:entirely )?(?:excluded|ruled out)"
    r"|^ (?:may|might|could) be (?:present|there|seen)|^ (?:versus|vs)\b"
    r"|^[^,，、]{0,4}?(?:可能|待排|不除外|待查|不能排除)"
)
NO_DENIAL = re.compile(
    r"\b(?:no|not|without) (?:\w+ ){0,2}?(?:change[ds]?|increase[d]?|decrease[d]?|progression|worsening"
    r"|improvement)\b"
    r"|\bnot only\b|[无未]见?(?:明显)?(?:变化|改变)"
)
CLAUSES = re.compile(
    r"[;:!?\n。；！？：]|\.(?!\d)|\b(?:but|however|although|though|while|whereas|except|aside from|other than)\b"
    r"|但|(?<![不排消解拔])除(?!外)"
)
JOINTS = re.compile(r",? (?:and|or|nor|with) |, |，|伴")
NEW_ASSERTION = re.compile(
    r"^(?:also )?(?:an?|the|there|this|new|old|stable|unchanged|persistent|small|tiny|trace|mild|minimal|moderate"
    r"|large|severe|marked|left|right|bilateral|bibasilar|increas\w+|improv\w+|possible|probable|likely)\b"
)
VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|remains?|appears?|seen|noted|present|shows?|demonstrates?|persists?)\b"
)
ITEM_WORDS, DOUBT_WORDS = 4, 6


def label_report(text: str) -> dict[str, Status]:
    """Return what a report says of each finding it mentions; a clause that affirms outweighs one that denies."""
    found: dict[str, Status] = {}
    for clause in _clauses(text):
        for label, patterns in FINDINGS.items():
            for start, end in _places(clause, patterns):
                found[label] = _stronger(found.get(label), _status(clause, start, end))
    return found


def _clauses(text: str) -> list[str]:
    """Split at sentences and turns; a line that goes on in small letters is wrapped, not ended."""
    unwrapped = re.sub(r"\s*\n\s*(?=[a-z])", " ", text.replace("’", "'"))
    spaced = re.sub(r"[ \t]+", " ", unwrapped.lower())
    return CLAUSES.split(re.sub(r"(?<=[\u3400-\u9fff]),", "，", spaced))


def _places(clause: str, patterns: Sequence[str]) -> list[tuple[int, int]]:
    """Return where a finding is mentioned, mentions that overlap taken as one."""
    spans = sorted(match.span() for pattern in patterns for match in re.finditer(_whole(pattern), clause))
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _whole(pattern: str) -> str:
    return rf"\b(?:{pattern})\b" if pattern.isascii() else pattern


def _status(clause: str, start: int, end: int) -> Status:
    after = clause[end:]
    blank = NO_DENIAL.sub(lambda match: "·" * len(match[0]), clause)
    if _reaches(DOUBTED, clause, start, most_words=DOUBT_WORDS) or DOUBTED_BACKWARDS.match(after):
        return "doubtful"
    return "absent" if _reaches(DENIED, blank, start) or DENIED_BACKWARDS.match(after) else "present"


def _reaches(cue: re.Pattern[str], clause: str, start: int, *, most_words: int | None = None) -> bool:
    """Tell whether the last cue before a finding still holds where the finding begins."""
    cues = list(cue.finditer(clause, 0, start))
    if not cues:
        return False
    scope, reach = clause[cues[-1].end() :], start - cues[-1].end()
    if most_words is not None and (len(scope[:reach].split()) > most_words or DENIED.search(scope[:reach])):
        return False
    joints = [joint for joint in JOINTS.finditer(scope) if joint.start() < reach]
    return not any(_ends_scope(joint, scope) for joint in joints)


def _ends_scope(joint: re.Match[str], scope: str) -> bool:
    """Tell whether what follows a comma or "and" is a new assertion rather than the next item of a list."""
    if joint[0] in ("，", "伴"):
        return True
    if joint[0].strip(" ,") in ("or", "nor"):
        return False
    rest = scope[joint.end() :]
    segments = JOINTS.split(rest)
    if not NEW_ASSERTION.match(rest) and not VERB.search(segments[0]):
        return False
    return joint[0].strip(" ,") == "with" or not _is_list_with_or(rest)


def _is_list_with_or(rest: str) -> bool:
    """Tell whether short items without a verb lead to an "or": the list goes on, whatever its items' size."""
    place = 0
    for joint in JOINTS.finditer(rest):
        item = rest[place : joint.start()]
        if len(item.split()) > ITEM_WORDS or VERB.search(item) or joint[0].strip(" ,") == "with":
            return False
        if joint[0].strip(" ,") in ("or", "nor"):
            return True
        place = joint.end()
    return False


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
