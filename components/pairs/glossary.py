"""The terms that texts are written with: Chinese names, English plurals, names of modalities, parts of the body.

A term without a Chinese name is never half-translated: `chinese_term` returns "" and the pair is written in
English. Names of organs follow the Chinese edition of Terminologia Anatomica; numbered bones and nerves are
made by rule.
"""

from __future__ import annotations

import re
from functools import lru_cache

from components.records import NOT_STATED

MODALITY_NAMES = {
    "CT": ("CT", "CT"), "MR": ("MR", "磁共振"), "X-ray": ("X-ray", "X线"), "Ultrasound": ("ultrasound", "超声"),
    "PET": ("PET", "PET"), "Endoscopy": ("endoscopy", "内镜"), "Pathology": ("histopathology", "组织病理"),
    "Microscopy": ("microscopy", "显微镜"), "Fundus": ("fundus photography", "眼底照相"), "OCT": ("OCT", "OCT"),
    "Infrared reflectance": ("infrared reflectance", "红外反射"), "Dermoscopy": ("dermoscopy", "皮肤镜"),
    "Ophthalmoscope": ("ophthalmoscopy", "检眼镜"), "Nuclear medicine": ("nuclear medicine", "核医学"),
}  # fmt: skip
IMAGE_NAMES = {**MODALITY_NAMES, NOT_STATED: ("medical", "医学")}  # what an image is called by its modality
MODALITY_GROUPS = (
    ("CT", "MR", "X-ray", "PET", "Nuclear medicine", "Ultrasound"),
    ("Pathology", "Microscopy", "Dermoscopy", "Endoscopy"),
    ("Fundus", "OCT", "Infrared reflectance"),
)  # the nearest confusions of each other
PLANE_NAMES = {"axial": ("axial", "轴位"), "coronal": ("coronal", "冠状位"), "sagittal": ("sagittal", "矢状位")}

IRREGULAR_PLURALS = {
    "nucleus": "nuclei", "cell nucleus": "cell nuclei", "vertebra": "vertebrae", "bronchus": "bronchi",
    "gyrus": "gyri", "sulcus": "sulci", "ganglion": "ganglia", "femur": "femurs", "thalamus": "thalami",
    "hippocampus": "hippocampi", "biopsy": "biopsies", "artery": "arteries", "cavity": "cavities",
    "thoracic vertebra": "thoracic vertebrae", "lumbar vertebra": "lumbar vertebrae",
}  # fmt: skip
UNCOUNTED = ("matter", "fluid", "muscle", "tissue", "spine", "blood", "cartilage", "cartilages", "cord", "marrow")

# Region of the body -> words that place a body part there; whole-body terms overlap everything.
BODY_REGIONS = {
    "head": ("head", "brain", "skull", "face", "eye", "retina", "fundus", "orbit", "cereb"),
    "neck": ("neck", "thyroid", "cervical", "larynx"),
    "chest": ("chest", "thorax", "lung", "heart", "cardiac", "breast", "mediastin", "rib", "echocardio"),
    "abdomen": ("abdomen", "abdominal", "liver", "kidney", "pancreas", "spleen", "stomach", "colon", "bowel"),
    "pelvis": ("pelvis", "pelvic", "bladder", "prostate", "uterus", "rectum"),
    "spine": ("spine", "vertebra", "neck/spine"),
    "shoulder": ("shoulder",), "arm": ("arm", "elbow", "humerus"), "hand": ("hand", "wrist"),
    "leg": ("leg", "tibia", "knee", "femur", "ankle", "extremity", "limb"), "foot": ("foot",), "skin": ("skin",),
    "lymph": ("lymph",), "cells": ("cell", "nuclei", "culture"),
}  # fmt: skip
BODY_PART_CHOICES = (
    "brain", "chest", "abdomen", "pelvis", "shoulder", "knee", "skin", "neck", "hand", "foot", "retina", "heart",
    "liver", "kidney", "colon", "lymph node",
)  # fmt: skip
# Statements of one family exclude each other, so that one may be asked against the rest.
STATED_CHOICES = {
    "view": (("PA", "AP", "LL"), ("transesophageal", "transthoracic", "transabdominal")),
    "stain": (
        ("hematoxylin and eosin", "immunohistochemistry with hematoxylin counterstain", "fluorescence", "Giemsa"),
    ),
    "sequence": (
        ("T1-weighted", "T2-weighted", "diffusion-weighted b0", "functional echo planar", "FLAIR"),
        ("spin echo", "gradient echo", "inversion recovery", "echo planar"),
    ),
    "magnification": (("5x", "10x", "20x", "40x"),),
    "tissue amount": (("almost all tissue", "mostly tissue", "about half tissue", "little tissue"),),
    "mode": (("Doppler", "M-mode", "B-mode"),),
}  # fmt: skip

CHINESE = {
    # organs and vessels
    "spleen": "脾脏", "kidney": "肾脏", "gallbladder": "胆囊", "liver": "肝脏", "stomach": "胃",
    "pancreas": "胰腺",
    "adrenal gland": "肾上腺", "lung": "肺", "lung upper lobe": "肺上叶", "lung middle lobe": "肺中叶",
    "lung lower lobe": "肺下叶", "upper lobe of the lung": "肺上叶", "middle lobe of the lung": "肺中叶",
    "lower lobe of the lung": "肺下叶", "upper lung lobe": "肺上叶", "middle lung lobe": "肺中叶",
    "lower lung lobe": "肺下叶", "esophagus": "食管", "oesophagus": "食管", "trachea": "气管", "airway": "气道",
    "thyroid gland": "甲状腺", "thyroid": "甲状腺", "small bowel": "小肠", "duodenum": "十二指肠", "colon": "结肠",
    "urinary bladder": "膀胱", "bladder": "膀胱", "prostate": "前列腺", "kidney cyst": "肾囊肿", "heart": "心脏",
    "aorta": "主动脉", "pulmonary vein": "肺静脉", "pulmonary artery": "肺动脉", "brachiocephalic trunk": "头臂干",
    "subclavian artery": "锁骨下动脉", "common carotid artery": "颈总动脉", "brachiocephalic vein": "头臂静脉",
    "atrial appendage": "心耳", "superior vena cava": "上腔静脉",
    "inferior vena cava": "下腔静脉", "portal vein and splenic vein": "门静脉及脾静脉", "iliac artery": "髂动脉",
    "iliac vein": "髂静脉", "iliac vena": "髂静脉", "lymph node": "淋巴结", "mediastinum": "纵隔", "eye": "眼球",
    "optic disc": "视盘", "macula": "黄斑", "blood vessel": "血管", "retina": "视网膜", "uterus": "子宫",
    # bones and muscles
    "humerus": "肱骨", "scapula": "肩胛骨", "clavicle": "锁骨", "clavicula": "锁骨", "femur": "股骨",
    "hip": "髋骨",
    "hip bone": "髋骨", "sacrum": "骶骨", "skull": "颅骨", "sternum": "胸骨", "carpal": "腕骨", "rib": "肋骨",
    "ribs": "肋骨", "costal cartilages": "肋软骨", "costal cartilage": "肋软骨", "spinal cord": "脊髓",
    "spinal canal": "椎管", "vertebra": "椎骨", "vertebrae": "椎骨", "cervical spine": "颈椎", "tibia": "胫骨",
    "thoracic spine": "胸椎", "lumbar spine": "腰椎", "cervical vertebra": "颈椎骨", "bone": "骨",
    "thoracic vertebra": "胸椎骨", "lumbar vertebra": "腰椎骨", "gluteus maximus": "臀大肌", "fibula": "腓骨",
    "gluteus medius": "臀中肌", "gluteus minimus": "臀小肌", "autochthon": "竖脊肌", "iliopsoas": "髂腰肌",
    "autochthonous back muscle": "竖脊肌", "deep back muscle": "背部深层肌", "erector spinae": "竖脊肌",
    "iliopsoas muscle": "髂腰肌", "gluteus maximus muscle": "臀大肌", "gluteus medius muscle": "臀中肌",
    "gluteus minimus muscle": "臀小肌", "body": "人体", "tissue": "组织", "soft tissue": "软组织",
    "gluteal muscle": "臀肌", "carpal bones": "腕骨", "portal and splenic vein": "门静脉及脾静脉",
    # brain
    "brain": "脑", "grey matter": "灰质", "gray matter": "灰质", "white matter": "白质",
    "cerebrospinal fluid": "脑脊液",
    "precentral gyrus": "中央前回", "superior frontal gyrus": "额上回", "middle frontal gyrus": "额中回",
    "inferior frontal gyrus, opercular part": "额下回盖部",
    "inferior frontal gyrus, triangular part": "额下回三角部",
    "inferior frontal gyrus, orbital part": "额下回眶部", "rolandic operculum": "中央沟盖",
    "supplementary motor area": "辅助运动区", "olfactory cortex": "嗅皮层", "gyrus rectus": "直回",
    "superior frontal gyrus, medial": "额上回内侧部", "superior frontal gyrus, medial part": "额上回内侧部",
    "medial superior frontal gyrus": "额上回内侧部", "medial orbital gyrus": "眶内侧回",
    "superior frontal gyrus, medial orbital": "额上回眶内侧部", "medial orbitofrontal cortex": "眶额皮层内侧部",
    "anterior orbital gyrus": "眶前回", "posterior orbital gyrus": "眶后回", "lateral orbital gyrus": "眶外侧回",
    "anterior orbitofrontal cortex": "眶额皮层前部", "posterior orbitofrontal cortex": "眶额皮层后部",
    "lateral orbitofrontal cortex": "眶额皮层外侧部", "insula": "岛叶", "anterior cingulate cortex": "前扣带皮层",
    "anterior cingulate gyrus": "前扣带回", "middle cingulate gyrus": "中扣带回",
    "posterior cingulate gyrus": "后扣带回",
    "anterior cingulate": "前扣带回", "middle cingulate": "中扣带回", "posterior cingulate": "后扣带回",
    "middle cingulate cortex": "中扣带皮层", "posterior cingulate cortex": "后扣带皮层", "hippocampus": "海马",
    "parahippocampal gyrus": "海马旁回", "amygdala": "杏仁核", "calcarine cortex": "距状皮层", "cuneus": "楔叶",
    "calcarine fissure": "距状裂", "calcarine sulcus": "距状沟", "lingual gyrus": "舌回", "angular gyrus": "角回",
    "superior occipital gyrus": "枕上回", "middle occipital gyrus": "枕中回", "inferior occipital gyrus": "枕下回",
    "fusiform gyrus": "梭状回", "postcentral gyrus": "中央后回", "superior parietal lobule": "顶上小叶",
    "superior parietal gyrus": "顶上回", "inferior parietal lobule": "顶下小叶",
    "inferior parietal gyrus": "顶下回",
    "supramarginal gyrus": "缘上回", "precuneus": "楔前叶", "paracentral lobule": "中央旁小叶",
    "caudate": "尾状核",
    "caudate nucleus": "尾状核", "putamen": "壳核", "pallidum": "苍白球", "globus pallidus": "苍白球",
    "thalamus": "丘脑", "heschl gyrus": "颞横回", "heschl's gyrus": "颞横回", "superior temporal gyrus": "颞上回",
    "superior temporal pole": "颞极上部", "middle temporal gyrus": "颞中回", "middle temporal pole": "颞极中部",
    "temporal pole: superior temporal gyrus": "颞极：颞上回",
    "temporal pole: middle temporal gyrus": "颞极：颞中回",
    "inferior temporal gyrus": "颞下回", "cerebellum": "小脑", "cerebellar vermis": "小脑蚓部",
    "vermis": "小脑蚓部",
    "cerebellum crus 1": "小脑脚1区", "cerebellum crus 2": "小脑脚2区", "brainstem": "脑干",
    "inferior frontal gyrus": "额下回", "medial orbital frontal gyrus": "额内侧眶回", "temporal pole": "颞极",
    "orbitofrontal cortex": "眶额皮层", "transverse temporal gyrus": "颞横回", "cerebellar hemisphere": "小脑半球",
    # findings, cells, slides
    "lung tumour": "肺肿瘤", "lung tumor": "肺肿瘤", "tumour": "肿瘤", "tumor": "肿瘤", "lung cancer": "肺癌",
    "gross tumour volume": "大体肿瘤区", "gross tumor volume": "大体肿瘤区", "lesion": "病灶", "cell": "细胞",
    "nucleus": "细胞核", "cell nucleus": "细胞核", "nuclei": "细胞核", "cell nuclei": "细胞核", "cells": "细胞",
    "microaneurysm": "微动脉瘤", "microaneurysms": "微动脉瘤", "background": "背景",
    "empty background": "空白背景",
    "tissue present": "有组织", "gland": "腺体", "glands": "腺体", "non-ossifying fibroma": "非骨化性纤维瘤",
    "skin lesion": "皮肤病灶", "liver lesion": "肝脏病灶", "normal eye": "正常眼", "colonic gland": "结肠腺体",
    # parts of the body
    "chest": "胸部", "abdomen": "腹部", "chest and abdomen": "胸腹部", "chest and upper abdomen": "胸部和上腹部",
    "thorax": "胸部", "head": "头部", "neck": "颈部", "head and neck": "头颈部", "pelvis": "骨盆",
    "shoulder": "肩部",
    "knee": "膝部", "skin": "皮肤", "hand": "手", "foot": "足", "whole body": "全身", "leg": "腿部",
    "ankle": "踝部",
    "lower leg": "小腿", "distal tibia": "胫骨远端", "spine": "脊柱", "neck and spine": "颈部和脊柱",
    "breast": "乳腺",
    "extremity": "四肢", "lower extremity": "下肢", "colon tissue": "结肠组织", "fundus": "眼底",
}  # fmt: skip
STATED_TERMS = {
    "view": "投照体位", "stain": "染色方法", "sequence": "序列", "magnification": "放大倍数", "level": "椎体水平",
    "contrast": "增强情况", "technique": "成像技术", "tissue amount": "组织量", "mode": "模式", "channel": "通道",
    "PA": "后前位", "AP": "前后位", "LL": "左侧位", "transesophageal": "经食管", "transthoracic": "经胸",
    "transabdominal": "经腹", "hematoxylin and eosin": "苏木精-伊红", "Giemsa": "吉姆萨", "fluorescence": "荧光",
    "immunohistochemistry with hematoxylin counterstain": "免疫组化加苏木精复染", "T1-weighted": "T1加权",
    "T2-weighted": "T2加权", "diffusion-weighted b0": "弥散加权b0", "functional echo planar": "功能平面回波",
    "FLAIR": "FLAIR", "spin echo": "自旋回波", "gradient echo": "梯度回波", "inversion recovery": "反转恢复",
    "echo planar": "平面回波", "5x": "5倍", "10x": "10倍", "20x": "20倍", "40x": "40倍",
    "almost all tissue": "几乎全为组织", "mostly tissue": "大部分为组织", "about half tissue": "约一半为组织",
    "little tissue": "少量组织", "Doppler": "多普勒", "M-mode": "M型", "B-mode": "B型", "green": "绿色",
    "contrast-enhanced": "增强", "quantitative phase imaging": "定量相位成像",
}  # fmt: skip

RULES = (
    (re.compile(r"^(?:rib (\d+)|(\d+)(?:st|nd|rd|th) rib)$"), "第{0}肋"),
    (re.compile(r"^(?:vertebra|vertebral body) ([CTLSctls]\d{1,2})$"), "{0}椎体"),
    (re.compile(r"^([CTLSctls]\d{1,2}) vertebra$"), "{0}椎体"),
    (re.compile(r"^([CTLS]\d{1,2})$"), "{0}"),
    (re.compile(r"^(?:cerebellum|cerebellar) (?:lobule )?(\d+[ab]?(?:[-_/, ]\d+)?)$"), "小脑{0}区"),
    (re.compile(r"^(?:cerebellar )?vermis (?:lobule )?(\d+(?:[-_/, ]\d+)?)$"), "小脑蚓部{0}区"),
)


def chinese_term(term: str) -> str:
    """Return a term's Chinese name, or "" when there is none."""
    found = CHINESE.get(term) or STATED_TERMS.get(term) or CHINESE.get(term.lower(), "")
    if found:
        return found
    for pattern, shape in RULES:
        if match := pattern.match(term):
            return shape.format(next(group for group in match.groups() if group).upper())
    return ""


def plural(label: str) -> str:
    """Return the English plural of a label; mass nouns and plurals stay as they are."""
    if label in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[label]
    last = label.rsplit(" ", maxsplit=1)[-1]
    if last in IRREGULAR_PLURALS:
        return label.removesuffix(last) + IRREGULAR_PLURALS[last]
    if last in UNCOUNTED or last.endswith("s") or last[-1:].isdigit():
        return label
    return label[:-1] + "ies" if last.endswith("y") and last[-2:-1] not in "aeiou" else label + "s"


def is_counted(label: str) -> bool:
    """Tell whether "3 <label>s" is sound English."""
    last = label.rsplit(" ", maxsplit=1)[-1]
    return last not in UNCOUNTED and not last[-1:].isdigit()


@lru_cache(maxsize=1024)
def body_regions(body_part: str) -> frozenset[str]:
    """Return the regions of the body that a body part belongs to; itself when it is not known."""
    words = body_part.lower()
    found = {region for region, cues in BODY_REGIONS.items() if any(cue in words for cue in cues)}
    if "whole" in words:
        found = set(BODY_REGIONS)
    return frozenset(found or {words})


def modality_group(modality: str) -> tuple[str, ...]:
    """Return the modalities most easily mistaken for this one, without it."""
    group = next((group for group in MODALITY_GROUPS if modality in group), ())
    return tuple(other for other in group if other != modality)
