import json
import time

import pytest

from components.__main__ import plan
from components.errors import ConfigError
from components.settings import PARAMS, compose, settings_from
from components.tracking.digest import digest_json
from components.tracking.stage import settings_section
from components.training.budget import check_affordable, check_budget
from components.training.expected import expected_samples
from components.training.forecast import computes_written_out
from components.training.launch import run_train
from components.training.pack import DECIDE_PACKS
from components.training.plan import make_plan, run_plan
from drills.kill_training import STAGE, make_packs, tiny_settings

WRITTEN_OUT = "training.speed.written_out_layers=all"


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
    rows, _, assumptions = forecast
    assert [row.trainable for row in rows] == sorted(row.trainable for row in rows)
    assert all(10_000 < row.steps < 12_000 for row in rows)
    assert all(row.memory_gigabytes < 80 for row in rows)
    # The facts' own estimate is 26 + 26 + 32 hours at 40 % utilisation.
    for row, hours in zip(rows, (26, 26, 32), strict=True):
        assert row.hours[0] < hours * 1.6 and row.hours[1] > hours * 0.8
    assert any("32" in text or "4 x 8 of A100-80G" in text for text in assumptions)
    assert any("published sizes" in text for text in assumptions)
    check_budget(paper, rows, forecast[1])


def test_what_learns_is_without_the_layer_behind_the_projected_one(forecast):
    assert [round(row.trainable / 1e6, 1) for row in forecast[0]] == [21.0, 311.9, 8049.6]


def test_the_papers_forecast_is_printed_with_what_it_stands_on(paper, capsys):
    run_plan(paper)
    printed = " ".join(capsys.readouterr().out.split())
    for row in paper.recipe.stages:
        assert row in printed
    assert (
        " 21.0 " in printed
        and "8,062.2 M parameters" in printed
        and "hours" in printed
        and "GB of disk" in printed
    )
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


@pytest.mark.parametrize("columns", [80, 100])
def test_no_stages_name_is_cut_in_an_ordinary_terminal(columns, paper, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    run_plan(paper)
    lines = capsys.readouterr().out.splitlines()
    for row in paper.recipe.stages:
        assert any(line.startswith(f"{row} ") for line in lines)
    assert max(len(line) for line in lines) <= columns


def test_disk_holds_the_data_and_the_features_kept_of_a_frozen_tower(paper, forecast):
    rows, data, _ = forecast
    assert {part.name for part in data} == {"records", "pairs", "packs", "image store"}
    store = next(part for part in data if part.name == "image store")
    assert store.bytes == sum(paper.recipe.sizes.values()) * 336 * 336 * 3 and "upper bound" in store.source
    speed = paper.training.speed.model_copy(update={"cache_features": True})
    changed = paper.model_copy(update={"training": paper.training.model_copy(update={"speed": speed})})
    kept, _, assumptions = make_plan(changed)
    more = [b.disk_gigabytes - a.disk_gigabytes for a, b in zip(rows, kept, strict=True)]
    assert more[0] == pytest.approx(11.68e6 * 576 * 1024 * 4 / 1e9, rel=0.01) and more[1:] == [0, 0]
    assert any("features it keeps" in text for text in assumptions)
    assert all(row.host_gigabytes > 4 * row.parameters / 1e9 for row in rows)


def counted(settings, **details):
    """Give the packs a manifest as the pack stage writes it, of these settings."""
    counts = {"packs": 24, "tokens": 2000, "supervised": 300}
    decides = {section: settings_section(settings, section) for section in DECIDE_PACKS}
    content = {"settings_hash": digest_json(decides), "details": {"alignment/train": counts}, **details}
    (settings.work_root / "packs" / "manifest.json").write_text(json.dumps(content))


def test_packs_that_exist_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings(steps=12, every=0, workers=0)
    with pytest.raises(ConfigError, match="no packs of mixture"):
        make_plan(settings)
    make_packs(settings)
    counted(settings)
    run_plan(settings)
    printed = capsys.readouterr().out
    assert "24 packs counted" in printed and "12" in printed and "minutes" in printed
    assert "on this disk" in printed


def test_packs_of_these_settings_are_counted_before_published_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings(steps=12, every=0, workers=0)
    make_packs(settings)
    sized = settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"sizes": {"slake": 600}})})
    counted(sized)
    assert any("24 packs counted" in text for text in make_plan(sized)[2])
    counted(sized, settings_hash="of other settings")
    rows, data, assumptions = make_plan(sized)
    assert any("published sizes" in text and "are of other settings" in text for text in assumptions)
    assert not any(part.is_here for part in data)


LIMITS = {
    "memory": ({"device": {"memory_gigabytes": 0.00001}}, "training.micro_batch"),
    "hours": ({"budget": {"hours": 1e-12}}, "cluster.budget.hours"),
    "disk": ({"budget": {"disk_gigabytes": 1e-6}}, "cluster.budget.disk_gigabytes"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_stage_over_budget_does_not_start_and_loads_nothing(limit, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    change, setting = LIMITS[limit]
    settings = tiny_settings(steps=2, every=0, workers=0, cluster=change)
    make_packs(settings)
    counted(settings)
    monkeypatch.setattr("components.training.launch.load_start", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(ConfigError, match="over budget") as refused:
        run_train(settings, STAGE)
    with pytest.raises(ConfigError) as planned:
        run_plan(settings)
    assert str(refused.value) == str(planned.value)
    assert setting in str(refused.value) and "cluster.budget.enforced=false" in str(refused.value)
    budget = {**change.get("budget", {}), "enforced": False}
    check_affordable(tiny_settings(steps=2, every=0, workers=0, cluster={**change, "budget": budget}), STAGE)
    assert "over budget, and started all the same" in capsys.readouterr().err


def test_asking_whether_a_stage_is_affordable_costs_next_to_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings(steps=2, every=0, workers=0)
    make_packs(settings)
    counted(settings)
    check_affordable(settings, STAGE)  # imports
    before = time.process_time()
    check_affordable(settings, STAGE)
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ([], [False, False, False]),
        (["training.speed.written_out_layers=frozen"], [True, True, False]),  # the language model rests in two
        ([WRITTEN_OUT], [True, True, True]),
        ([WRITTEN_OUT, "training.speed.compile=true"], [False, False, False]),
        ([WRITTEN_OUT, "cluster.strategy=fsdp2"], [False, False, False]),
        ([WRITTEN_OUT, "model.max_length=2048"], [False, False, False]),
        ([WRITTEN_OUT, "preset=gmai_vl_7b"], [False, False, False]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else None,
)
def test_the_forecast_knows_which_stages_write_their_layers_out(changes, wanted):
    settings = settings_from(compose(changes), where="conf")
    assert [computes_written_out(settings, row) for row in settings.recipe.stages.values()] == wanted


def test_a_plan_of_overrides_is_of_them_and_leaves_the_parameters(capsys):
    before = PARAMS.read_bytes()
    plan(["preset=gmai_vl_7b", "cluster.nodes=8"])
    assert "8 x 8 of A100" in " ".join(capsys.readouterr().out.split()) and PARAMS.read_bytes() == before
    with pytest.raises(ConfigError, match="over budget|GB"):
        plan(["preset=gmai_vl_7b", "training.speed.activation_checkpointing=false"])
