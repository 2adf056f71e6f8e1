import json

import pytest

from components.errors import ConfigError
from components.settings import compose, settings_from
from components.training.plan import check_budget, expected_samples, make_plan, run_plan
from drills.kill_training import make_packs, tiny_settings


@pytest.fixture(scope="module")
def paper():
    return settings_from(compose(["preset=gmai_vl_7b"]), where="conf")


@pytest.fixture(scope="module")
def forecast(paper):
    return make_plan(paper)


def test_the_papers_samples_add_up_to_what_the_facts_say(paper):
    alignment, instruction = (expected_samples(paper, name) / 1e6 for name in ("alignment", "instruction"))
    assert alignment == pytest.approx(11.68, abs=0.01) and instruction == pytest.approx(10.63, abs=0.01)
    assert sum(paper.recipe.sizes.values()) / 1e6 == pytest.approx(14.53, abs=0.01)


def test_the_papers_run_fits_32_devices_and_takes_days(paper, forecast):
    rows, assumptions = forecast
    assert [row.trainable for row in rows] == sorted(row.trainable for row in rows)
    assert all(10_000 < row.steps < 12_000 for row in rows)
    assert all(row.memory_gigabytes < 80 for row in rows)
    # The facts' own estimate is 26 + 26 + 32 hours at 40 % utilisation.
    for row, hours in zip(rows, (26, 26, 32), strict=True):
        assert row.hours[0] < hours * 1.6 and row.hours[1] > hours * 0.8
    assert any("32" in text or "4 x 8 of A100-80G" in text for text in assumptions)
    assert any("published sizes" in text for text in assumptions)
    check_budget(paper, rows)


def test_the_papers_forecast_is_printed_with_what_it_stands_on(paper, capsys):
    run_plan(paper)
    printed = " ".join(capsys.readouterr().out.split())
    for row in paper.recipe.stages:
        assert row in printed
    assert "21.0 M" in printed and "8,0" in printed and "hours" in printed and "GB of disk" in printed
    assert "4 x 8 of A100-80G" in printed and "published sizes x ratios" in printed


def test_a_mixture_of_sources_that_nobody_knows_is_not_planned(paper):
    mixture = paper.recipe.mixtures["alignment"]
    wrong = mixture.model_copy(update={"sources": {**mixture.sources, "mimic_cxr": 0.3}})
    mixtures = {**paper.recipe.mixtures, "alignment": wrong}
    changed = paper.model_copy(update={"recipe": paper.recipe.model_copy(update={"mixtures": mixtures})})
    with pytest.raises(ConfigError, match="'mimic_cxr'; near matches: mimic_cxr_r2gen"):
        make_plan(changed)


def test_without_checkpointing_activations_the_last_stage_is_refused(paper):
    speed = paper.training.speed.model_copy(update={"activation_checkpointing": False})
    training = paper.training.model_copy(update={"speed": speed})
    changed = paper.model_copy(update={"training": training})
    with pytest.raises(ConfigError, match="GB a process, the device has 80"):
        check_budget(changed, make_plan(changed)[0])


@pytest.mark.parametrize(
    ("field", "message"), [("hours", "the budget is 0.001"), ("disk_gigabytes", "GB of disk")]
)
def test_a_budget_is_kept(field, message, paper, forecast):
    budget = paper.cluster.budget.model_copy(update={field: 0.001})
    changed = paper.model_copy(update={"cluster": paper.cluster.model_copy(update={"budget": budget})})
    with pytest.raises(ConfigError, match=message):
        check_budget(changed, forecast[0])


def test_packs_that_exist_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings(steps=12, every=0, workers=0)
    with pytest.raises(ConfigError, match="no packs of mixture"):
        make_plan(settings)
    make_packs(settings)
    counts = {"packs": 24, "tokens": 2000, "supervised": 300}
    manifest = settings.work_root / "packs" / "manifest.json"
    manifest.write_text(json.dumps({"details": {"alignment/train": counts}}))
    run_plan(settings)
    printed = capsys.readouterr().out
    assert "24 packs counted" in printed and "12" in printed and "minutes" in printed
