"""Chinese: sentence shapes and grammar. A term without a Chinese name raises TermMissing."""

from __future__ import annotations

from collections.abc import Sequence

from components.pairs.glossary import IMAGE_NAMES, MODALITY_NAMES, PLANE_NAMES, chinese_term
from components.pairs.wording.language import TermMissing, Wording, grid_place
from components.records import NOT_STATED, Box

SIDE_WORDS = {"left": "左侧", "right": "右侧"}
PLACES = (("左上部", "上部", "右上部"), ("左部", "中央", "右部"), ("左下部", "下部", "右下部"))
TERMS = {
    "above": "上方", "below": "下方", "leftward": "左方", "rightward": "右方",
    "first": "第一张", "second": "第二张",
    "same texture": "相同的纹理",
}  # fmt: skip

SHAPES: dict[str, tuple[str, ...]] = {
    # ---- closed questions
    "yes_no": ("请回答是或否。", "请用是或否回答。", "是还是否？", "只回答是或否。"),
    "choices": (
        "请从中选择：{options}。", "选项：{options}。", "备选答案：{options}。", "请选择其一：{options}。",
    ),
    "presence_question": (
        "图中能看到{thing}吗？", "这幅图像显示了{thing}吗？", "图像中是否有{thing}？", "在图中可以见到{thing}吗？",
        "{thing}是否出现在这幅图像里？", "该图像是否包含{thing}？", "请判断图中是否可见{thing}。",
        "观察图像，能找到{thing}吗？", "这张图里有{thing}吗？",
    ),
    "absence_question": ("图中是否缺少{thing}？", "{thing}是否缺失于这幅图像？", "这幅图像是否缺少{thing}？"),
    "count_question": (
        "图中有多少个{things}？", "请数一数图中{things}的数目。", "图像中{things}的个数是多少？",
        "可以看到几个{things}？",
        "这幅图像包含多少个{things}？", "请给出{things}的数量。", "图中{things}共有几个？",
        "一共能见到多少个{things}？",
    ),
    "side_question": (
        "图中的{label}位于患者的哪一侧？", "这里显示的是哪一侧的{label}？", "可见的{label}属于身体的哪一侧？",
        "从患者角度看，{label}在哪一侧？", "请指出{label}是患者的哪一侧。", "这幅图显示的{label}是左侧还是右侧？",
        "图像里的{label}在患者身体的哪边？", "请判断{label}的侧别。",
    ),
    "plane_question": (
        "这幅图像是哪个切面？", "该图像的成像平面是什么？", "这是哪个方位的切面？", "图像显示的是哪个解剖平面？",
        "请指出该层面的方位。", "这张切片的方向是什么？", "图像取自哪个平面？", "该断层属于哪个方位？",
    ),
    "modality_question": (
        "这是哪种成像方式？", "这幅图像用什么方法获得？", "请指出成像方式。", "该图像属于哪种影像类型？",
        "这是什么类型的医学图像？", "图像由哪种技术采集？", "请判断影像的模态。", "这张图是用哪种检查得到的？",
    ),
    "organ_question": (
        "图像显示的是身体哪个部位？", "这是哪个部位的图像？", "检查的是身体的哪一部分？", "请指出图中的身体部位。",
        "该图像对应哪个解剖区域？", "图中是什么部位？", "成像部位是哪里？", "请判断图像的解剖部位。",
    ),
    "structure_question": (
        "图中可见下列哪一项？", "下列哪个结构出现在图像中？", "其中只有一项可见，是哪一项？",
        "图像显示了以下哪个结构？",
        "请选出图中包含的结构。", "下面哪一个能在图中看到？", "所列结构中哪个可见？", "这张图里有哪一个结构？",
    ),
    "largest_question": (
        "下列哪个结构在图中面积最大？", "图像中占据面积最大的是哪一个？", "以下结构中哪个看起来最大？",
        "请指出所列结构中最大的一个。", "哪一个占的图像面积最多？", "其中截面最大的是哪个？",
        "所列各项中哪项面积最大？",
        "这幅图里哪个结构最大？",
    ),
    "region_question": (
        "{box}内是什么？", "{box}标出的是哪个结构？", "请说出{box}内的结构。", "区域{box}显示了什么？",
        "请辨认{box}中的结构。", "哪个名称符合区域{box}？", "区域{box}包含哪个结构？", "在{box}中可以看到什么？",
    ),
    "stated_question": (
        "这幅图像的{name}是什么？", "请指出{name}。", "图像属于哪种{name}？", "该图像的{name}属于哪一种？",
        "请判断这张图的{name}。", "图中的{name}是哪种？", "请说明图像的{name}。", "这里的{name}是什么？",
    ),
    # ---- captions
    "caption_question": (
        "请描述这幅图像。", "请为图像写一段说明。", "这幅图像显示了什么？", "请简要说明图中内容。",
        "概述图中可见的内容。",
        "请给出图像描述。", "请解释这张图。", "图中能看到什么？", "请介绍这幅医学图像。",
    ),
    "opening": (
        "这是{part}的{image}。", "图像为{part}的{image}。", "本图为{part}的{image}。",
        "图中所示为{part}的{image}。",
        "此为{part}的{image}。", "该图是{part}的{image}。",
    ),
    "opening_bare": (
        "这是{image}。", "图像为{image}。", "本图为{image}。", "图中所示为{image}。", "此为{image}。",
        "该图是{image}。",
    ),
    "contents": (
        "图中可见{things}。", "图像显示{things}。", "其中可以看到{things}。", "可见结构包括{things}。",
        "图内有{things}。",
        "标注内容为{things}。",
    ),
    "placed": (
        "{thing}位于图像{place}。", "{thing}在图像{place}。", "{thing}处于图像{place}。", "图像{place}为{thing}。",
        "在图像{place}可见{thing}。", "{thing}见于图像{place}。",
    ),
    "largest": (
        "面积最大的是{thing}。", "{thing}的面积最大。", "{thing}占据的面积最大。", "以面积计，{thing}居首。",
        "截面最大的是{thing}。", "最大的标注区域为{thing}。",
    ),
    "absent": (
        "未见{thing}。", "图中看不到{thing}。", "没有显示{thing}。", "图中没有{thing}。", "{thing}不可见。",
        "图像不包含{thing}。",
    ),
    "stated": (
        "{name}为{value}。", "{name}：{value}。", "图像的{name}是{value}。", "其{name}为{value}。",
        "{name}是{value}。",
        "所用{name}为{value}。",
    ),
    # ---- regions
    "describe_region_question": (
        "请描述区域{referred}。", "{referred}是什么样的？", "请说明{referred}的内容。",
        "请为区域{referred}写一段说明。",
        "请解释{referred}显示了什么。", "描述图中的{referred}。", "关于{referred}可以说些什么？",
        "请介绍{referred}。",
    ),
    "region": (
        "该区域显示{thing}。", "该区域包含{thing}。", "该区域对应{thing}。", "该区域为{thing}。",
        "该区域标出{thing}。",
        "该区域属于{thing}。",
    ),
    "region_place": (
        "它位于图像{place}。", "它在图像{place}。", "其中心位于图像{place}。", "它处于图像{place}。",
        "它占据图像{place}。",
        "它见于图像{place}。",
    ),
    "region_share": (
        "约占图像的{share}%。", "面积约为图像的{share}%。", "它约占整幅图的{share}%。",
        "大约{share}%的图像属于它。",
        "其面积约占{share}%。", "它覆盖约{share}%的图像。",
    ),
    "box_question": (
        "{thing}在哪里？请给出边界框。", "请用边界框标出{thing}。", "请框出{thing}。", "请给出{thing}的坐标。",
        "找到{thing}并返回其边界框。", "请在图中定位{thing}。", "{thing}的边界框是什么？",
        "请标注{thing}的位置框。",
    ),
    "box_answer": ("{referred}",),
    # ---- instructions
    "overview_question": (
        "这是什么图像，显示了什么？", "请说明图像的类型。", "请向学生介绍这幅图像。", "如何概括这张图像？",
        "阅读前应了解这幅图的哪些信息？", "请说出图像的类型和内容。", "这是什么检查，可见什么？",
        "请解读图像的类型。",
    ),
    "findings_question": (
        "可以辨认出哪些结构？", "请列出可见的结构。", "你能认出什么结构？", "请说出图中标注的内容。",
        "图中出现了哪些结构？",
        "请给出可见结构。", "图里能看到什么？", "请列举图像包含的结构。",
    ),
    "location_question": (
        "{thing}位于图像的什么位置？", "{thing}在图像的哪一部分？", "请描述{thing}的位置。", "{thing}在图中何处？",
        "如何描述{thing}的位置？", "请说出{thing}在哪里。", "请用文字指出{thing}的位置。",
        "图像的哪部分可见{thing}？",
    ),
    "size_question": (
        "{thing}在图中有多大？", "{thing}占图像的多少？", "请估计{thing}的大小。", "{thing}占据图像多大比例？",
        "图中{thing}的大小如何？", "请给出{thing}的大致面积。", "{thing}的范围有多大？", "请评估{thing}的大小。",
    ),
    "size": (
        "{thing}约占图像的{share}%。", "{thing}的面积约为图像的{share}%。", "约{share}%的图像属于{thing}。",
        "{thing}大约占整幅图的{share}%。", "{thing}覆盖约{share}%的图像。", "图像中{thing}约占{share}%。",
    ),
    "measured": (
        "相当于体内约{area}平方厘米。", "在患者体内约为{area}平方厘米。", "对应约{area}平方厘米。",
        "实际面积约{area}平方厘米。",
        "按像素间距计算约{area}平方厘米。", "折合约{area}平方厘米。",
    ),
    "relation_question": (
        "{first}与{second}在图中的位置关系如何？", "{first}相对于{second}在哪里？",
        "请比较{first}和{second}的位置。",
        "{first}位于{second}的什么方向？", "请描述{first}与{second}的相对位置。", "相对{second}，{first}在何处？",
        "{first}在{second}的哪个方向？", "请说明{first}和{second}的空间关系。",
    ),
    "relation": (
        "在图像中，{first}位于{second}的{relation}。", "{first}在{second}的{relation}。",
        "就图像而言，{first}处于{second}的{relation}。", "可见{first}位于{second}的{relation}。",
        "图上{first}在{second}的{relation}。", "从图像看，{first}位于{second}的{relation}。",
    ),
    "why_largest_question": (
        "哪个结构在图中占优，大多少？", "最大的结构是什么，为什么？", "哪个标注结构最大？请解释。",
        "比较大小：哪个居首？",
        "什么占据最多面积？请给出数值。", "哪个结构面积最大？请说明理由。", "请排序：哪个最大？",
        "请指出最大的结构并与次大者比较。",
    ),
    "why_largest": (
        "{largest_sentence}它约占图像的{share}%，其次是{next}，约{next_share}%。",
        "{largest_sentence}约占{share}%，而{next}约占{next_share}%。",
        "{largest_sentence}数值上约{share}%，{next}约{next_share}%。",
        "{largest_sentence}其比例约{share}%，次之为{next}，约{next_share}%。",
        "{largest_sentence}它约占{share}%，大于{next}的约{next_share}%。",
        "{largest_sentence}对比：约{share}%，{next}约{next_share}%。",
    ),
    "absence_reason_question": (
        "这个视野包括{thing}吗？请说明。", "能指出{thing}吗？", "如果有，请指出{thing}。",
        "此图是否包含{thing}？为什么？",
        "我在找{thing}，图里有吗？", "这幅图能评估{thing}吗？", "此图有助于判断{thing}吗？请解释。",
        "请就{thing}作出评论。",
    ),
    "absence_reason": (
        "{absence_sentence}可见的是{things}。", "{absence_sentence}图像显示{things}。",
        "{absence_sentence}图中可见{things}。",
        "{absence_sentence}图像所示为{things}。", "{absence_sentence}可见结构为{things}。",
        "{absence_sentence}视野内有{things}。",
    ),
    "counted": (
        "图中有{number}个{things}。", "图像显示{number}个{things}。", "可见{number}个{things}。",
        "共计{number}个{things}。",
        "一共有{number}个{things}。", "可以数出{number}个{things}。",
    ),
    # ---- comparisons
    "compare_texture_question": (
        "这两幅图像是否显示{statement}？", "比较两图：是否为{statement}？", "两幅图像都有{statement}吗？",
        "你认为两图具有{statement}吗？", "观察两幅图像，是否有{statement}？", "请判断两图是否显示{statement}。",
        "第一幅与第二幅是否具有{statement}？", "两图是否相像，有{statement}？",
    ),
    "which_image_question": (
        "两幅图像中哪一张显示{thing}？", "{thing}出现在哪一张图中？", "只有一张图可见{thing}，是哪一张？",
        "哪张图包含{thing}？",
        "请指出有{thing}的图像。", "请找出{thing}：在哪张图里？", "其中一张显示{thing}，是哪张？",
        "哪一张图里有{thing}？",
    ),
    "which_more_question": (
        "两幅图像中哪一张的{things}更多？", "哪张图有更多的{things}？", "比较{things}的数目：哪张更多？",
        "哪一张显示更多{things}？",
        "请数两图中的{things}，哪张多？", "哪张图包含较多{things}？", "{things}较多的是哪一张？",
        "在哪张图能数到更多{things}？",
    ),
    # ---- a source's own words
    "report_question": (
        "请为图像写一份报告。", "请给出影像报告。", "请报告所见。", "请书写检查报告。", "请根据图像撰写报告。",
        "请起草本次检查的报告。",
        "这幅图的报告应如何写？", "请提供报告。",
    ),
}  # fmt: skip


def term(label: str) -> str:
    """Return the Chinese name; TermMissing when there is none."""
    name = TERMS.get(label) or chinese_term(label) or (label if label.isdigit() else "")
    if not name:
        raise TermMissing(label)
    return name


def thing(label: str, side: str = "") -> str:
    """Name a label with the patient's side, if one is given."""
    return SIDE_WORDS.get(side, "") + term(label)


def several(label: str, sides: Sequence[str], count: int) -> str:
    """Name what is known of a label's objects: side, both sides, or their number."""
    if tuple(sides) == ("left", "right"):
        return "双侧" + term(label)
    if len(sides) <= 1:
        return thing(label, sides[0] if sides else "")
    return f"{count}个{term(label)}" if count else term(label)


def image(modality: str, plane: str) -> str:
    """Name a kind of image: "轴位CT图像"."""
    return (PLANE_NAMES[plane][1] if plane != NOT_STATED else "") + IMAGE_NAMES[modality][1] + "图像"


def modality_name(modality: str) -> str:
    """Name a modality."""
    return MODALITY_NAMES[modality][1]


def joined(items: Sequence[str]) -> str:
    """Join items as a sentence does."""
    return "、".join(items[:-1]) + "和" + items[-1] if len(items) > 1 else "".join(items)


def place(box: Box) -> str:
    """Name the part of the image that holds a box's centre, in image terms."""
    row, column = grid_place(box)
    return PLACES[row][column]


WORDING = Wording(
    language="zh", shapes=SHAPES, yes="是", no="否", sides=SIDE_WORDS, term=term, thing=thing, named=thing,
    several=several,
    image=image, modality=modality_name, joined=joined, listed="、".join, place=place, separator="", finished=str,
)  # fmt: skip
