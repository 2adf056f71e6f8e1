"""The zero-shot baseline on small CLIP and SigLIP models made here: transformers' own code, from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from components.errors import CheckpointError, ConfigError
from components.evaluation.catalog import find_benchmark
from components.evaluation.exams import judge_all, make_exam
from components.evaluation.published_run import Wanted, run_published
from components.evaluation.zero_shot import ZERO_SHOT, answer_zero_shot, load_two_sides, option_texts, place_of
from components.model.vlm import save_vlm
from components.quality.pictures import open_rgb
from components.settings import Settings, settings_from
from tests.fakes.benchmarks import LAYOUTS
from tests.fakes.items import make_item
from tests.fakes.tables import png

ROOT = Path(__file__).parents[3]
WORDS = ["<pad>", "<eos>", "<unk>", "CT", "MR", "PET", ".", "Which", "modality", "?", "yes", "no"]
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
IMAGES = {f"r{k}": png(40 * k) for k in range(4)}
ITEMS = [
    make_item(item_id=f"i{k}", patient_key=f"p{k}", record_ids=(f"r{k}",), question="<image>\nWhich modality?",
              options=("CT", "MR", "PET"), gold="MR", question_type="modality")
    for k in range(4)
]  # fmt: skip


def make_tokenizer() -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of its family, saved as its authors' are."""
    torch.manual_seed(5)
    text = {**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 8, "eos_token_id": 1, "pad_token_id": 0}
    vision = {**SIZES, "image_size": 16, "patch_size": 8}
    if request.param == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        model, size = transformers.CLIPModel(config), {"height": 16, "width": 16}
        images = transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size)
    else:
        config = transformers.SiglipConfig(text_config=text, vision_config=vision)
        model = transformers.SiglipModel(config)
        images = transformers.SiglipImageProcessorPil(size={"height": 16, "width": 16})
    with torch.no_grad():
        model.logit_scale.fill_(4.0)
    found = tmp_path_factory.mktemp(request.param)
    for part in (model, make_tokenizer(), images):
        part.save_pretrained(found)
    return found


def test_its_choice_is_that_of_the_models_own_forward_pass(folder: Path) -> None:
    exam = make_exam(find_benchmark("closed_questions"), ITEMS, [], number=4, seed=0)
    sides = load_two_sides(str(folder))
    assert answer_zero_shot(sides, [exam], IMAGES) == ["closed_questions"]
    for item, answer in zip(exam.items, exam.answers[ZERO_SHOT], strict=True):
        words = sides.tokenizer(
            option_texts(item), padding="max_length", max_length=8, truncation=True, return_tensors="pt"
        )
        mask = {"attention_mask": words["attention_mask"]} if sides.family == "clip" else {}
        pixels = sides.image_processor([open_rgb(IMAGES[item.record_ids[0]])], return_tensors="pt")
        with torch.no_grad():
            output = sides.model(input_ids=words["input_ids"], pixel_values=pixels["pixel_values"], **mask)
        expected = output.logits_per_image[0].softmax(-1)  # SigLIP's bias is the same for every option
        assert answer.shares == pytest.approx(expected.tolist(), abs=1e-5)
        assert answer.choice == int(expected.argmax()) and answer.text == item.options[answer.choice]
    assert {row.judgement.is_parsed for row in judge_all(exam)[ZERO_SHOT]} == {True}


def test_it_computes_where_it_is_laid(folder: Path) -> None:
    sides = load_two_sides(str(folder), device="meta")  # has shapes and no values: a stand-in for an accelerator
    assert sides._image_features([png(1)]).device.type == "meta"
    if sides.family == "siglip":  # CLIP looks for the end mark among the ids, which needs values
        assert sides._text_features(["CT", "MR ."]).device.type == "meta"


def test_several_pictures_are_averaged(folder: Path) -> None:
    sides = load_two_sides(str(folder))
    shares = []
    for names in (("r0",), ("r3",), ("r0", "r3")):
        exam = make_exam(find_benchmark("closed_questions"), [make_item(options=("CT", "MR"), gold="CT",
                         record_ids=names)], [], number=1, seed=0)  # fmt: skip
        answer_zero_shot(sides, [exam], IMAGES)
        shares.append(torch.tensor(exam.answers[ZERO_SHOT][0].shares).log())
    gaps = [float(one[0] - one[1]) for one in shares]
    assert gaps[2] == pytest.approx((gaps[0] + gaps[1]) / 2, abs=1e-4)


def test_it_answers_no_benchmark_with_an_item_it_cannot_answer(folder: Path) -> None:
    open_item = make_item(item_id="o", source="vqa_rad", options=())
    without = make_item(item_id="w", record_ids=())
    for item in (open_item, without):
        exam = make_exam(find_benchmark("vqa_rad"), [make_item(source="vqa_rad"), item], [], number=2, seed=0)
        exam.items = [make_item(source="vqa_rad"), item]
        assert answer_zero_shot(load_two_sides(str(folder)), [exam], IMAGES) == [] and exam.answers == {}


def test_a_tower_without_a_text_side_is_refused(tmp_path: Path) -> None:
    vision = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SIZES, image_size=16, patch_size=8))
    vision.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="no text side"):
        load_two_sides(str(tmp_path))
    with pytest.raises(CheckpointError, match="no CLIP or SigLIP"):
        load_two_sides(str(tmp_path / "nowhere"))


def test_the_models_own_tower_may_be_meant() -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"]["zero_shot"] = "tower"
    raw["model"]["vision"]["pretrained"] = ""
    with pytest.raises(ConfigError, match="not a pretrained one"):
        place_of(settings_from(raw, where="test"))
    raw["model"]["vision"]["pretrained"] = "openai/clip-vit-large-patch14-336"
    settings: Settings = settings_from(raw, where="test")
    assert place_of(settings) == "openai/clip-vit-large-patch14-336"


def test_it_stands_beside_the_model_in_scores_and_report(
    folder: Path, vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder.name.startswith("siglip"):
        pytest.skip("one family is enough for the whole way")
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] |= {"max_new_tokens": 2, "batch_size": 4, "bootstrap": 50, "zero_shot": str(folder)}
    monkeypatch.chdir(tmp_path)
    settings = settings_from(raw, where="test")
    save_vlm(vlm.model, vlm.processor, settings.work_root / "models" / settings.recipe.final_stage)
    output = run_published(settings, Wanted("pmc_vqa", LAYOUTS["pmc_vqa"](tmp_path / "data")))
    metrics = json.loads((output / "scores.json").read_text())
    assert metrics["scores"][0]["zero_shot"] in (0.0, 1.0)
    assert metrics["details"]["zero_shot"]["benchmarks"] == ["pmc_vqa"]
    assert len(metrics["details"]["zero_shot"]["pinned"]) == 64
    assert ">zero-shot</th>" in (output / "report.html").read_text()
