"""Every kind of pair may be written by a language model, and every one is read back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.pairs.draft import make_scene
from components.pairs.endpoint import Reply
from components.pairs.knowledge import MODALITY_ENTRIES
from components.pairs.language_model import LanguageModelGenerator
from components.pairs.pieces import verified
from components.pairs.prompts import FORMS, make_prompt
from components.pairs.reply_cache import RememberingModel
from components.pairs.surroundings import look_around
from components.records import Pair, Record, SourceQuestion
from components.settings import LanguageWriter
from tests.fakes.scans import REGIONS, make_scan, make_study

KINDS = ("caption", "region_caption", "instruct", "percept", "comparison", "report", "text_only")
PAIR = '{{"pairs": [{{"question": "{0}", "answer": "{1}"}}]}}'
GOOD = {
    "caption": '{"caption": "An axial CT image of the abdomen."}',
    "region_caption": '{"caption": "This region shows the structure."}',
    "instruct": PAIR.format("What lies in view?", "Parts of the abdomen can be seen."),
    "percept": '{"pairs": [{"question": "Which modality is it?", "options": ["PET", "CT"], "answer": "CT"}]}',
    "comparison": PAIR.format("What differs?", "Nothing more than the position of the slice."),
    "report": '{"findings": "An axial CT image of the abdomen.", "impression": "A CT image as described."}',
    "text_only": '{"pairs": [{"question": "What is CT?", "answer": "It is computed tomography with X-rays."}, '
    '{"question": "And the plane?", "answer": "It is axial."}]}',
}
LIES = {
    "caption": ("plane_contradicts", '{"caption": "A coronal CT image."}'),
    "region_caption": ("box_contradicts", '{"caption": "This region shows a pneumothorax."}'),
    "instruct": ("modality_contradicts", PAIR.format("What is it?", "This is an MR image.")),
    "percept": (
        "modality_contradicts",
        '{"pairs": [{"question": "Which modality?", "options": ["PET", "CT"], "answer": "PET"}]}',
    ),
    "comparison": ("label_not_annotated", PAIR.format("What differs?", "The first image shows a fracture.")),
    "report": ("label_not_annotated", '{"findings": "A CT image.", "impression": "A pleural effusion."}'),
    "text_only": (
        "plane_contradicts",
        '{"pairs": [{"question": "What is CT?", "answer": "A technique."}, '
        '{"question": "The plane?", "answer": "It is sagittal."}, {"question": "Thanks?", "answer": "Yes."}]}',
    ),
}  # fmt: skip


class Scripted:
    """A local model that replies by the form that it is asked in, and remembers the prompts."""

    name, is_third_party = "scripted", False

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies, self.prompts = replies, []

    def complete(self, prompt, *, seed):
        self.prompts.append(prompt)
        return Reply(self.replies[prompt.kind], 3, 2)


def write(replies, generator, tmp_path, *, kinds=KINDS, records: list[Record] | None = None, chinese=0.0):
    generator.chinese_share = chinese
    model = Scripted(replies)
    writer = LanguageModelGenerator(
        RememberingModel(model, tmp_path), generator, allowed={}, options=LanguageWriter(model="m", kinds=KINDS)
    )
    records = records or [replace(record, image=b"\x89PNG") for record in make_study()]
    around = look_around(records)["scans"]
    made = [pair for record in records for pair in verified(record, writer, around=around, kinds=kinds)]
    return made, model


def test_every_kind_is_written_and_carries_how(generator, tmp_path) -> None:
    pairs, model = write(GOOD, generator, tmp_path)
    assert {pair.kind for pair in pairs} == set(KINDS)
    assert {pair.rejected_reason for pair in pairs} == {""}
    assert {pair.generator.name for pair in pairs} == {"language_model"}
    assert {(p.generator.model, p.generator.seed) for p in pairs} == {("scripted", 7)}
    hashes = {prompt.hash for prompt in model.prompts}
    assert {pair.generator.prompt_hash for pair in pairs} == hashes
    assert {prompt.kind for prompt in model.prompts if not prompt.image} == {"comparison", "text_only"}


def one(pairs: list[Pair], kind: str) -> Pair:
    return next(pair for pair in pairs if pair.kind == kind)


def test_each_kind_has_its_shape(generator, tmp_path) -> None:
    pairs, _ = write(GOOD, generator, tmp_path)
    closed = one(pairs, "percept")
    assert (closed.options, closed.answer) == (("PET", "CT"), "CT")
    assert all(option in closed.conversations[0].value for option in closed.options)
    assert one(pairs, "report").conversations[1].value.splitlines()[1] == "Impression: A CT image as described."
    compared = one(pairs, "comparison")
    assert compared.conversations[0].value.startswith("<image>\n<image>\n")
    assert len(set(compared.record_ids)) == 2
    talk = one(pairs, "text_only")
    assert (talk.record_ids, len(talk.conversations)) == ((), 4)
    assert "<image>" not in talk.conversations[0].value


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_back(kind: str, generator, tmp_path) -> None:
    reason, reply = LIES[kind]
    pairs, _ = write(GOOD | {kind: reply}, generator, tmp_path, kinds=(kind,))
    assert {pair.rejected_reason for pair in pairs} == {reason}


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_states_the_five_tuple_and_asks_for_json(kind: str, generator) -> None:
    study = make_study()
    scene = make_scene(study[1], look_around(study)["scans"])
    partner = scene.around.partners_of(study[1])[0]
    text = make_prompt(kind, scene, language="en", other=partner, count=2).text
    for slot in ("Modality: CT, axial plane", "Department: General Surgery", "Label: ", "spleen", "Reply {"):
        assert slot in text
    assert "{{" not in text and set(FORMS) == set(KINDS)
    assert (MODALITY_ENTRIES["CT"].en in text) is (kind == "text_only")


def test_a_sources_own_words_stay_whatever_is_written(generator, tmp_path) -> None:
    asked = SourceQuestion("What is it?", "A scan.", question_type="instruct")
    report = make_scan(text="Unremarkable.", text_kind="report", questions=(asked,))
    pairs, model = write(GOOD, generator, tmp_path, records=[report], kinds=("report", "instruct"))
    quoted = {pair.kind for pair in pairs if pair.generator.name == "source"}
    assert quoted == {"report", "instruct"}
    assert {prompt.kind for prompt in model.prompts} == {"instruct"}


def test_a_chinese_report_has_chinese_headings(generator, tmp_path) -> None:
    reply = {"report": '{"findings": "腹部轴位CT图像，\\n可见肝脏。", "impression": "可见肝脏。"}'}
    record = make_scan(regions=REGIONS)
    (pair,), _ = write(reply, generator, tmp_path, records=[record], kinds=("report",), chinese=1.0)
    assert pair.conversations[1].value == "所见：腹部轴位CT图像， 可见肝脏。\n印象：可见肝脏。"
    assert (pair.language, pair.rejected_reason) == ("zh", "")


def test_a_free_comparison_is_checked_image_by_image(generator, tmp_path) -> None:
    first = make_scan(0, regions=REGIONS[:1])
    second = make_scan(1, regions=REGIONS[3:])
    said = {
        "The first image shows the liver but not the spleen.": "",
        "The second image shows the spleen, while the first image does not show it.": "",
        "Only the second image shows the spleen.": "",
        "Neither image shows the heart.": "",
        "Both images show the liver.": "negation_contradicts",
        "The second image shows the liver.": "negation_contradicts",
        "Only the first image shows the spleen.": "negation_contradicts",
        "The first image shows the liver but not in the first image.": "negation_contradicts",
    }  # fmt: skip
    from components.pairs.parse_back import contradictions, known_of
    from tests.fakes.scans import make_text

    for text, reason in said.items():
        pair = make_text(first, "<image>\n<image>\nWhat differs?", text, kind="comparison")
        found = contradictions(pair, [known_of(first), known_of(second)])
        assert found == ((reason,) if reason else ()), text


@pytest.mark.parametrize(
    ("text", "agrees"),
    [("第一张图像显示肝脏，第二张图像未见肝脏。", True), ("两张图像均显示肝脏。", False),
     ("第二张图像可见肝脏。", False),
     ("只有第二张图像显示脾脏。", True)],
)  # fmt: skip
def test_a_chinese_comparison_is_checked_image_by_image(text: str, agrees: bool) -> None:
    from components.pairs.parse_back import contradictions, known_of
    from tests.fakes.scans import make_text

    first, second = make_scan(0, regions=REGIONS[:1]), make_scan(1, regions=REGIONS[3:])
    pair = make_text(first, "有何不同？", text, language="zh", kind="comparison")
    assert (contradictions(pair, [known_of(first), known_of(second)]) == ()) is agrees
