"""Every file in conf/ composes and validates, and params.yaml is the current composition."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from components.data.catalog import card_files, load_cards
from components.errors import ConfigError
from components.pairs.mixture import check_sources
from components.settings import Settings, compose, settings_from

CONF = Path(__file__).parents[1] / "conf"
GROUPS = ("preset", "corpus", "model", "recipe", "evaluation", "promotion", "cluster", "tracking")
CHOICES = sorted((group, path.stem) for group in GROUPS for path in (CONF / group).glob("*.yaml"))
# Table 10 of arXiv 2411.14522v2: group -> (a source of it, its share in the alignment stages, in the last)
TABLE_10 = {
    "general caption": ("allava", 1.0, 0.5),
    "medical caption A": ("gmai_mm_caption", 1.0, 1.0),
    "medical caption B": ("pmc_oa", 1.0, 0.05),
    "reports": ("mimic_cxr_r2gen", 1.0, 0.3),
    "general instruct": ("chartqa", 1.0, 0.75),
    "medical instruct A": ("gmai_mm_percept", 1.0, 1.0),
    "medical instruct B": ("vqa_rad", 1.0, 0.1),
    "general text": ("alpaca", 0.0, 1.0),
    "medical text": ("gmai_text_multi", 0.0, 1.0),
}


def settings_of(*overrides: str) -> Settings:
    return settings_from(compose(list(overrides), folder=CONF), where="conf/")


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_validates(group: str, choice: str) -> None:
    settings = settings_of(f"{group}={choice}")
    if group == "preset" and choice != "none":
        assert settings.preset == choice


def test_every_folder_of_conf_is_a_known_group() -> None:
    assert {path.name for path in CONF.iterdir() if path.is_dir()} == {*GROUPS, "sources"}


def test_params_yaml_is_the_current_composition() -> None:
    committed = yaml.safe_load((CONF.parent / "params.yaml").read_text())
    assert committed == compose([], folder=CONF), "run `gmai configure` and commit params.yaml"


def test_the_tiny_preset_keeps_the_shape_of_the_default() -> None:
    tiny, default = settings_of("preset=tiny"), settings_of()
    assert list(tiny.recipe.stages) == list(default.recipe.stages)
    assert set(tiny.corpus.sources) < set(default.corpus.sources)
    assert tiny.model.language.source == "random"
    for name, stage in tiny.recipe.stages.items():
        assert stage.trains == default.recipe.stages[name].trains
        assert stage.max_steps <= 5


def test_the_papers_three_stages() -> None:
    stages = list(settings_of("preset=gmai_vl_7b").recipe.stages.values())
    assert [stage.learning_rate for stage in stages] == [1e-3, 1e-4, 1e-5]
    assert [set(stage.trains) for stage in stages] == [
        {"projector"}, {"projector", "vision"}, {"projector", "vision", "language"},
    ]  # fmt: skip
    assert {stage.packs_per_step for stage in stages} == {512}
    assert {stage.schedule for stage in stages} == {"cosine"}


def test_what_the_paper_does_not_say_names_another_source() -> None:
    settings = settings_of("preset=gmai_vl_7b")
    for stage in settings.recipe.stages.values():
        for silent in ("epochs", "warmup_ratio", "weight_decay", "clip", "max_length"):
            assert stage.evidence[silent].startswith("not in the paper; ")
    assert settings.model.max_length == 2048


def test_the_papers_model_has_576_image_tokens() -> None:
    vision = settings_of("preset=gmai_vl_7b").model.vision
    assert (vision.image_size // vision.patch_size) ** 2 == 576
    assert vision.feature_layer == -2


@pytest.mark.parametrize(("source", "alignment", "instruction"), TABLE_10.values(), ids=list(TABLE_10))
def test_the_papers_sampling_ratios(source: str, alignment: float, instruction: float) -> None:
    mixtures = settings_of("preset=gmai_vl_7b").recipe.mixtures
    assert mixtures["alignment"].sources[source] == alignment
    assert mixtures["instruction"].sources[source] == instruction
    assert set(mixtures["alignment"].sources) == set(mixtures["instruction"].sources)


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (CONF / "recipe").glob("*.yaml")))
def test_every_source_that_a_recipe_names_has_a_card(recipe: str) -> None:
    chosen = settings_of(f"recipe={recipe}").recipe
    named = {source for mixture in chosen.mixtures.values() for source in mixture.sources}
    assert named | set(chosen.sizes) <= set(card_files(CONF / "sources"))
    check_sources(chosen, CONF / "sources")


def test_the_papers_preset_reads_the_papers_sources_and_not_the_sample() -> None:
    settings = settings_of("preset=gmai_vl_7b")
    assert set(settings.corpus.sources) == set(settings.recipe.mixtures["alignment"].sources)
    assert set(settings.corpus.sources) == set(settings.recipe.sizes)
    assert len(settings.corpus.sources) == len(set(settings.corpus.sources)) == 47
    assert not set(settings.corpus.sources) & set(settings_of().corpus.sources)
    load_cards(CONF / "sources", names=settings.corpus.sources)


def test_a_mixture_that_names_no_card_is_refused_with_near_matches() -> None:
    recipe = settings_of("preset=gmai_vl_7b").recipe
    wrong = {"mimic_cxr": 0.3, "openi": 0.3, "slake": 0.1}
    mixture = recipe.mixtures["instruction"].model_copy(update={"sources": wrong})
    changed = recipe.model_copy(update={"mixtures": {"instruction": mixture}, "sizes": {"path_vqa": 2600}})
    with pytest.raises(ConfigError) as refused:
        check_sources(changed, CONF / "sources")
    told = str(refused.value)
    assert "3 source(s) without a card" in told and "'slake'" not in told
    for unknown, near in (("mimic_cxr", "mimic_cxr_r2gen"), ("openi", "openi_iu_xray"), ("path_vqa", "pathvqa")):
        assert re.search(f"'{unknown}'; near matches: .*{near}", told), told
    assert "mixtures.instruction.sources" in told and "sizes: 'path_vqa'" in told
    check_sources(changed, CONF / "no folder of cards")


def test_32_devices_reach_the_papers_step() -> None:
    settings = settings_of("preset=gmai_vl_7b")
    devices = settings.cluster.devices * settings.cluster.nodes
    assert devices == 32
    for stage in settings.recipe.stages.values():
        assert stage.packs_per_step % (devices * (stage.micro_batch or settings.training.micro_batch)) == 0


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("nosuch=1", "Could not override 'nosuch'"),
        ("model=nosuch", "Could not find 'model/nosuch', Available options in 'model': default"),
        ("modle=tiny", "did you mean model"),
        ("=", "Could not override ''"),
        ("seed=${nosuch}", "nosuch"),
        ("seed={", "does not compose"),
    ],
)
def test_an_override_that_fits_nothing_is_told_in_one_line(override, told):
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert told in caught.value.what
    assert [word for word in ("\n", "search path", "use +") if word in caught.value.what] == []
