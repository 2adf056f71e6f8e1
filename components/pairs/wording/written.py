"""Sentence shapes of reports and of text-only conversations that templates write.

They are kept beside the wordings' other shapes, not among them: the hash of those stands in every templated pair,
and a corpus without written reports keeps it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from components.pairs.wording.chinese import WORDING as CHINESE
from components.pairs.wording.english import WORDING as ENGLISH
from components.pairs.wording.language import Wording

ENGLISH_SHAPES: dict[str, tuple[str, ...]] = {
    # ---- reports
    "report_things": (
        "{things} can be identified.", "The image shows {things}.", "{things} can be seen.",
        "Identified: {things}.", "On display: {things}.", "The study shows {things}.",
    ),
    "report_region": (
        "{thing} lies in the {place} part of the image.", "{thing} is found in the {place} part of the image.",
        "In the {place} part of the image lies {thing}.", "{thing} is seen in the {place} part of the image.",
    ),
    "report_share": (
        "This is about {share} % of the image.", "That accounts for about {share} % of the image.",
        "The area is about {share} % of the image.", "About {share} % of the image is covered by this.",
    ),
    "report_absent": (
        "No evidence of {things}.", "There is no sign of {things}.", "{things} cannot be seen.",
        "The image does not show {things}.", "No sign of {things} is seen.",
    ),
    "report_bare": (
        "No further object is annotated.", "Nothing further is annotated.", "There is no further annotation.",
        "The annotation holds nothing further.",
    ),
    "impression_things": (
        "Findings consistent with the annotation of {things}.", "Annotated: {things}.", "{things}.",
        "The annotation names {things}.", "In summary, the image shows {things}.",
    ),
    "impression_absent": (
        "No {things}.", "No sign of {things}.", "The image does not show {things}.", "No evidence of {things}.",
    ),
    "impression_image": (
        "This is {image}, described above.", "{image} with the content described above.",
        "{image} as described.", "In summary, this is {image} as described.",
    ),
    # ---- conversations without an image
    "talk_opening": (
        "An annotation speaks of {image}.", "I am reading the annotation of {image}.",
        "Suppose that a record holds {image}.", "A data set has {image}.", "My record describes {image}.",
    ),
    "talk_things": (
        "It names {things}.", "The labels are {things}.", "It is labelled with {things}.", "It lists {things}.",
    ),
    "talk_modality_question": (
        "What does this kind of imaging do?", "How is such an image made?", "Can you explain the technique?",
        "By what principle is it taken?", "What should I know about this technique?",
    ),
    "talk_plane_question": (
        "What does the plane mean?", "How does this plane lie in the body?", "Can you explain the plane?",
        "How is the body cut in this plane?",
    ),
    "talk_side_question": (
        "Whose side does the annotation of {thing} mean?", "It speaks of {thing}. Whose side is that?",
        "How do I read the side of {thing}?", "The label is {thing}: by whose point of view?",
    ),
    "talk_home_question": (
        "In which region of the body does {thing} lie?", "Where in the body does one find {thing}?",
        "Which region of the body holds {thing}?", "To which region of the body does {thing} belong?",
    ),
    "talk_home": (
        "It belongs to the {home}.", "It lies in the {home}.", "One finds it in the {home}.",
        "The region is the {home}.",
    ),
    "talk_box_question": (
        "{thing} is marked as {box}. How do I read that?", "What do the numbers of {box} around {thing} mean?",
        "The annotation gives {thing} the box {box}. What does it say?",
        "Please explain {box}, given for {thing}.",
    ),
    "talk_box": (
        "Here it runs from {left} % to {right} % of the width and from {top} % to {bottom} % of the height.",
        "So it spans {left} % to {right} % of the width and {top} % to {bottom} % of the height.",
        "That is {left} % to {right} % across and {top} % to {bottom} % down.",
    ),
    "talk_place_question": (
        "And where is that in the image?", "Which part of the image is that?", "Where does its centre lie?",
        "Can you put the position in words?",
    ),
    "talk_place": (
        "It lies in the {place} part of the image.", "Its centre is in the {place} part of the image.",
        "That is in the {place} part of the image.", "It is in the {place} part of the image.",
    ),
    "talk_count_question": (
        "It boxes every one of the {things}, {number} {things} in all. How many are there?",
        "The annotation is complete and has {number} {things}. How many does the image hold?",
        "{number} {things} are boxed and none was left out. What is their number?",
        "Each object has its box: {number} {things}. What number is that to report?",
    ),
    "talk_absent_question": (
        "It states that {thing} is not visible. What do I report of it?",
        "By the annotation, {thing} is absent. What follows?",
        "{thing} is ruled out by the annotation. What may I say of it?",
        "The source says that {thing} is not shown. So what holds?",
    ),
    "talk_absent": (
        "You may report that {thing} is not visible.",
        "{thing} is not there, by the annotation.",
        "It follows that {thing} is not present.",
        "That {thing} is absent.",
    ),
}  # fmt: skip
CHINESE_SHAPES: dict[str, tuple[str, ...]] = {
    "report_things": (
        "可辨认{things}。", "图像显示{things}。", "可见{things}。", "所示为{things}。", "本次检查可见{things}。",
        "图中可见{things}。",
    ),
    "report_region": (
        "{thing}位于图像{place}。", "{thing}见于图像{place}。", "在图像{place}可见{thing}。",
        "{thing}在图像{place}。",
    ),
    "report_share": (
        "约占图像的{share}%。", "其面积约为图像的{share}%。", "它覆盖约{share}%的图像。",
        "约{share}%的图像属于它。",
    ),
    "report_absent": ("未见{things}。", "没有{things}的征象。", "图中看不到{things}。", "图像未显示{things}。"),
    "report_bare": ("标注中别无其他内容。", "其余内容标注中未提及。", "标注到此为止。", "标注内容仅此而已。"),
    "impression_things": (
        "符合{things}的标注。", "标注为{things}。", "{things}。", "标注所示为{things}。",
        "综上，图像显示{things}。",
    ),
    "impression_absent": ("未见{things}。", "没有{things}。", "图像未显示{things}。", "无{things}的征象。"),
    "impression_image": (
        "{image}，内容如上所述。", "如上所述的{image}。", "本图为{image}，所见如上。", "{image}，详见所见。",
    ),
    "talk_opening": (
        "一条标注描述了一幅{image}。", "我在阅读一幅{image}的标注。", "假设有一条{image}的记录。",
        "数据集中有一幅{image}。",
        "我的记录描述的是{image}。",
    ),
    "talk_things": ("其中标注了{things}。", "标签为{things}。", "标注内容是{things}。", "列出的是{things}。"),
    "talk_modality_question": (
        "这种成像是怎么回事？", "这样的图像是怎样得到的？", "能解释一下这种技术吗？", "它的成像原理是什么？",
        "关于这种技术应当了解什么？",
    ),
    "talk_plane_question": (
        "这个平面是什么意思？", "这个平面在身体中如何走行？", "能解释一下这个平面吗？", "身体是怎样被切开的？",
    ),
    "talk_side_question": (
        "标注{thing}，指的是谁的侧别？", "标注中说{thing}，侧别以谁为准？", "{thing}的侧别应怎样理解？",
        "{thing}是从谁的角度说的？",
    ),
    "talk_home_question": (
        "{thing}在身体的哪个区域？", "在身体的哪里可以找到{thing}？", "哪个身体区域含有{thing}？",
        "{thing}属于身体的哪个区域？",
    ),
    "talk_home": ("属于{home}。", "在{home}。", "它在{home}。", "该区域是{home}。"),
    "talk_box_question": (
        "{thing}标为{box}，应怎样理解？", "{thing}的{box}中的数字是什么意思？",
        "标注给{thing}的框是{box}，它说明什么？",
        "请解释{thing}的{box}。",
    ),
    "talk_box": (
        "这里横向从{left}%到{right}%，纵向从{top}%到{bottom}%。",
        "即宽度的{left}%到{right}%，高度的{top}%到{bottom}%。",
        "也就是横向{left}%至{right}%，纵向{top}%至{bottom}%。",
    ),
    "talk_place_question": (
        "那在图像的什么位置？", "那是图像的哪一部分？", "它的中心在哪里？", "能用文字说明位置吗？",
    ),
    "talk_place": ("它位于图像{place}。", "其中心位于图像{place}。", "它在图像{place}。", "它处于图像{place}。"),
    "talk_count_question": (
        "标注了全部目标，共{number}个{things}。一共有多少？",
        "标注完整，有{number}个{things}。图中有几个？",
        "共框出{number}个{things}，无一遗漏。总数是多少？",
        "每个目标都有框：{number}个{things}。应报告多少？",
    ),
    "talk_absent_question": (
        "标注指出没有{thing}。应如何报告？",
        "按标注，{thing}不可见。由此可知什么？",
        "标注排除了{thing}。可以怎样表述？",
        "来源称图中没有{thing}。结论是什么？",
    ),
    "talk_absent": (
        "可以报告未见{thing}。",
        "按标注，没有{thing}。",
        "可知图中没有{thing}。",
        "应写：未见{thing}。",
    ),
}  # fmt: skip


@cache
def written(language: str) -> Wording:
    """Return a language's wording with the shapes of reports and conversations added."""
    base, more = (CHINESE, CHINESE_SHAPES) if language == "zh" else (ENGLISH, ENGLISH_SHAPES)
    return replace(base, shapes={**base.shapes, **more})
