"""A small glossary: what a modality, a plane, a side and a box mean, and where an organ lies.

Text-only conversations say what follows from an annotation and from these entries, and nothing else. Each entry
is one sentence a language, in our own words. `source` is the work to check it against, as far as that is known by
name; where it says UNCHECKED, the sentence was written from common knowledge and not yet compared with that work:
no heading or page is given, because none could be looked up. The parse-back knows the entries and takes them as
read only where the record has the modality, the plane, a side or a box that they speak of.
"""

from __future__ import annotations

from dataclasses import dataclass

UNCHECKED = " (UNCHECKED: written from common knowledge; to be compared with this work)"
NIBIB = "NIBIB, glossary of imaging" + UNCHECKED
MESH = "MeSH, scope note of the method" + UNCHECKED
DICOM_PLANES = "DICOM, planes of the body" + UNCHECKED
DICOM_SIDES = "DICOM, Patient Orientation (0020,0020); the tag by pydicom's dictionary, the meaning" + UNCHECKED
BOX_FORM = "GMAI-VL (arXiv 2411.14522), Figure 1: shares of the image, x1 y1 x2 y2, two decimals"


@dataclass(frozen=True, slots=True)
class Entry:
    """One sentence in each language, and its source."""

    en: str
    zh: str
    source: str

    def said(self, language: str) -> str:
        """Return the sentence in a language."""
        return self.zh if language == "zh" else self.en


MODALITY_ENTRIES: dict[str, Entry] = {
    "CT": Entry(
        "Computed tomography sends X-rays through the body from many angles, and a computer makes "
        "cross-sections of it.",
        "计算机断层成像让X射线从多个角度穿过身体，再由计算机重建出横截面。", NIBIB,
    ),
    "MR": Entry(
        "Magnetic resonance imaging uses a strong magnetic field and radio waves, without ionising radiation.",
        "磁共振成像使用强磁场和无线电波，不使用电离辐射。", NIBIB,
    ),
    "X-ray": Entry(
        "A radiograph is a projection: X-rays pass through the body and a detector records how much arrives.",
        "X线片是一种投影：X射线穿过身体，探测器记录到达的射线量。", NIBIB,
    ),
    "Ultrasound": Entry(
        "Ultrasound imaging records the echoes of high-frequency sound waves that the body sends back.",
        "超声成像记录身体反射回来的高频声波回声。", MESH,
    ),
    "PET": Entry(
        "PET shows where a tracer that emits positrons gathers in the body, and so how active the cells are.",
        "PET显示发射正电子的示踪剂在体内聚集的位置，从而反映代谢活动。", MESH,
    ),
    "Endoscopy": Entry(
        "Endoscopy looks into a hollow part of the body through a tube with a light and a lens.",
        "内镜检查通过带光源和镜头的管子观察身体的空腔。", MESH,
    ),
    "Pathology": Entry(
        "Histopathology examines thin, usually stained, sections of a specimen at high magnification.",
        "组织病理检查在高倍放大下观察标本的薄切片，切片通常经过染色。", MESH,
    ),
    "Microscopy": Entry(
        "Microscopy makes details visible that the unaided eye cannot resolve.",
        "显微镜使肉眼分辨不出的细节变得可见。", MESH,
    ),
    "Fundus": Entry(
        "A fundus photograph is a colour picture of the inner back surface of the organ of sight, taken "
        "through the pupil.",
        "眼底照片是透过瞳孔拍摄的视觉器官内后表面的彩色图像。", MESH,
    ),
    "OCT": Entry(
        "Optical coherence tomography maps layers below a surface by the interference of reflected light.",
        "光学相干断层成像利用反射光的干涉来描绘表面以下的层次。", MESH,
    ),
    "Infrared reflectance": Entry(
        "An infrared reflectance picture shows how much infrared light a surface sends back.",
        "红外反射图像显示表面反射的红外光的多少。", MESH,
    ),
    "Dermoscopy": Entry(
        "Dermoscopy looks at the surface through a magnifying lens with its own light, without cutting anything.",
        "皮肤镜通过自带光源的放大镜观察表面，无需切开。", MESH,
    ),
    "Ophthalmoscope": Entry(
        "Ophthalmoscopy looks at the inside of the organ of sight with a light and lenses.",
        "检眼镜检查用光源和透镜观察视觉器官的内部。", MESH,
    ),
    "Nuclear medicine": Entry(
        "Scintigraphy records the radiation of a tracer that was given to the patient, with a camera outside "
        "the body.",
        "核医学显像用体外的相机记录给予患者的示踪剂发出的辐射。", MESH,
    ),
}  # fmt: skip
PLANE_ENTRIES: dict[str, Entry] = {
    "axial": Entry(
        "An axial plane cuts across the long axis of the body and parts it into a head side and a foot side.",
        "轴位平面垂直于身体长轴，把身体分成头侧和足侧。", DICOM_PLANES,
    ),
    "coronal": Entry(
        "A coronal plane parts the body into a front and a back.",
        "冠状位平面把身体分成前后两部分。", DICOM_PLANES,
    ),
    "sagittal": Entry(
        "A sagittal plane runs from front to back and parts one flank from the other.",
        "矢状位平面由前向后，把身体分成两侧。", DICOM_PLANES,
    ),
}  # fmt: skip
SIDE_ENTRY = Entry(
    "A side in an annotation is the patient's own, whatever side of the screen shows it.",
    "标注中的侧别以患者自身为准，与屏幕上的方位无关。", DICOM_SIDES,
)  # fmt: skip
BOX_ENTRY = Entry(
    "The four numbers are the edges of the box from the first corner to the opposite one, x then y, as shares of "
    "the width and the height.",
    "四个数字依次是方框一角到对角的坐标，先横后纵，以占宽度和高度的比例表示。", BOX_FORM,
)  # fmt: skip
HOMES: dict[str, tuple[str, ...]] = {
    "head": ("brain", "skull", "eye", "cerebellum", "brainstem", "thalamus", "hippocampus", "insula", "putamen"),
    "neck": ("thyroid", "thyroid gland", "larynx", "cervical spine"),
    "chest": ("heart", "lung", "sternum", "ribs", "rib", "mediastinum", "thoracic spine", "lung upper lobe",
              "lung middle lobe", "lung lower lobe"),
    "abdomen": ("liver", "spleen", "stomach", "pancreas", "kidney", "gallbladder", "adrenal gland", "small bowel",
                "duodenum"),
    "pelvis": ("urinary bladder", "prostate", "uterus", "rectum", "sacrum"),
}  # fmt: skip
HOME_NAMES = {"head": "头部", "neck": "颈部", "chest": "胸部", "abdomen": "腹部", "pelvis": "盆部"}


def home_of(label: str) -> str:
    """Return the region of the body in which an organ lies, or ""."""
    return next((region for region, organs in HOMES.items() if label in organs), "")


def sayable(*, modality: str, plane: str, language: str, has_side: bool, has_box: bool) -> tuple[str, ...]:
    """Return the sentences of the glossary that a record's text may hold as they stand."""
    entries = [MODALITY_ENTRIES.get(modality), PLANE_ENTRIES.get(plane)]
    entries += [SIDE_ENTRY] if has_side else []
    entries += [BOX_ENTRY] if has_box else []
    return tuple(entry.said(language) for entry in entries if entry is not None)
