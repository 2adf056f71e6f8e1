"""The paper's model, built on the meta device: no weights, no memory, every parameter counted."""

import pytest

from components.model.vlm import build_on_meta, count_parameters, part_of, train_only
from components.settings import compose, settings_from


@pytest.fixture(scope="module")
def settings():
    return settings_from(compose(["preset=gmai_vl_7b"]), where="conf")


@pytest.fixture(scope="module")
def vlm(settings):
    return build_on_meta(settings.model, settings.packages_root)


def test_it_attends_by_flex_attention_and_the_default_by_the_fused_kernel(settings):
    assert settings.training.speed.attention == "flex" and settings.cluster.accelerator == "cuda"
    assert settings_from(compose([]), where="conf").training.speed.attention == "fused"


def test_the_parts_have_the_published_sizes(vlm):
    counts = count_parameters(vlm)
    width, inner, layers, vocabulary = 4096, 14336, 32, 92544
    attention = width * width * 2 + width * 1024 * 2
    language = layers * (attention + 3 * width * inner + 2 * width) + 2 * vocabulary * width + width
    assert counts["language"] == language == 7_737_708_544
    assert counts["projector"] == 1024 * 4096 + 4096 + 4096 * 4096 + 4096
    assert counts["vision"] == 303_507_456  # CLIP ViT-L/14-336's vision model


def test_each_stage_trains_what_the_paper_says(settings, vlm):
    learning = {}
    for name, stage in settings.recipe.stages.items():
        names = train_only(vlm, stage.trains)
        learning[name] = {part_of(parameter) for parameter in names}
    assert list(learning.values()) == [{"projector"}, {"projector", "vision"}, {"projector", "vision", "language"}]


def test_each_stage_learns_as_many_parameters_as_its_parts_have_on_the_way_to_the_loss(settings, vlm):
    """LLaVA projects the tower's last but one layer: the last one and the norm behind it never learn."""
    width, inner = 1024, 4096
    block = 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width
    projector, vision, language = 20_979_712, 303_507_456 - block - 2 * width, 7_737_708_544
    sizes = {name: parameter.numel() for name, parameter in vlm.named_parameters()}
    learning = [
        sum(sizes[name] for name in train_only(vlm, row.trains)) for row in settings.recipe.stages.values()
    ]
    assert learning == [projector, projector + vision, projector + vision + language]


def test_the_paper_s_numbers_are_in_the_recipe(settings):
    stages = list(settings.recipe.stages.values())
    assert [stage.learning_rate for stage in stages] == [1e-3, 1e-4, 1e-5]
    assert {stage.packs_per_step for stage in stages} == {512}
    assert settings.cluster.devices * settings.cluster.nodes == 32
    assert vlm_image_tokens(settings) == 576


def vlm_image_tokens(settings) -> int:
    return (settings.model.vision.image_size // settings.model.vision.patch_size) ** 2
