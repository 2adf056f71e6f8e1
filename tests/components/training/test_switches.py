"""Each switch leaves the losses as they are on the plain path; adapters end in a plain checkpoint."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.model.vlm import compose_vlm, part_of, train_only, vision_features
from components.settings import Adapter, Speed
from components.tracking.runs import StageRun
from components.training import launch
from components.training.adapters import add_adapters, merge_adapters
from components.training.apart import LossesApart
from components.training.cast_once import frozen_cast_once
from components.training.datamodule import Collator, pairs_of_tokens
from components.training.features import FeatureCache
from components.training.launch import run_train
from components.training.module import StageModule
from components.training.stages import part_hashes
from drills.kill_training import STAGE, make_packs, outcome, tiny_settings
from tests.components.training.test_module import data_module, stage
from tests.fakes.models import tiny_model

ALL = ("projector", "vision", "language")
SWITCHES = [
    {"supervised_logits": False}, {"activation_checkpointing": True}, {"bucket_lengths": True},
    {"fused_optimizer": False}, {"cache_features": True}, {"attention": "matrix_products"},
    {"cast_frozen_once": False}, {"written_out_layers": "all"},
    {"written_out_layers": "frozen"},
]  # fmt: skip
COMPILED = {"compile": True}  # a minute of compiling: its test is slow


def losses_of_run(tracked, monkeypatch, *, trains, speed, steps=6, feature_layer=None, **changes):
    settings = tiny_settings(steps=steps, every=0, workers=0, speed=speed, row={"trains": list(trains)}, **changes)
    settings = settings.model_copy(update={"tracking": tracked.tracking})
    if feature_layer:
        vision = settings.model.vision.model_copy(update={"feature_layer": feature_layer})
        settings = settings.model_copy(update={"model": settings.model.model_copy(update={"vision": vision})})
    if not settings.work_root.is_dir():
        make_packs(settings)
    points: list[dict[str, float]] = []
    with monkeypatch.context() as patch:
        patch.setattr(StageRun, "log_metrics", lambda _, metrics, step=None: points.append(dict(metrics)))
        run_train(settings, STAGE)
    return [point["loss"] for point in points if "loss" in point], points, settings


@pytest.mark.parametrize("trains", [("projector",), ALL], ids=len)
def test_every_switch_gives_the_losses_of_the_plain_path(trains, tracked, monkeypatch):
    plain, points, settings = losses_of_run(tracked, monkeypatch, trains=trains, speed={})
    assert len(plain) == 6 and plain[-1] < plain[0]
    for switch in SWITCHES:
        losses, _, _ = losses_of_run(tracked, monkeypatch, trains=trains, speed=switch)
        assert losses == pytest.approx(plain, abs=1e-5), switch
    told = {name for point in points for name in point}
    assert {"tokens_per_second", "share_waiting_for_input", "model_flops_utilisation", "memory_gigabytes"} <= told
    assert "loss_kind/percept" in told


@pytest.mark.parametrize("trains", [("projector",), ("projector", "vision")], ids=len)
def test_a_cast_made_once_gives_the_same_bits(trains, tracked, monkeypatch):
    run = partial(losses_of_run, tracked, monkeypatch, trains=trains, precision="bf16-mixed")
    each_time, points, _ = run(speed={"cast_frozen_once": False})
    once, same_points, _ = run(speed={"cast_frozen_once": True})
    assert len(once) == 6 and once == each_time
    norms = [[row["gradient_norm_projector"] for row in rows if "loss" in row] for rows in (points, same_points)]
    assert norms[0] == norms[1]


def test_a_cast_is_kept_of_frozen_matrices_alone_and_goes_again(vlm):
    train_only(vlm, ["vision"])
    ids = torch.arange(12).unsqueeze(0) + 5
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        plain = vlm(input_ids=ids).logits
    exact = vlm(input_ids=ids).logits
    with frozen_cast_once(vlm, torch.bfloat16) as count, torch.no_grad():
        kept = [name for name, layer in vlm.named_modules() if "forward" in vars(layer)]
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(vlm(input_ids=ids).logits, plain)
        assert torch.equal(vlm(input_ids=ids).logits, exact)
    assert count == len(kept) > 4 and not any("vision_tower.encoder" in name for name in kept)
    assert not any("forward" in vars(layer) for layer in vlm.modules())


def test_no_switch_is_without_its_proof():
    assert sorted(Speed.model_fields) == sorted({name for switch in (*SWITCHES, COMPILED) for name in switch})
    assert all(switch[name] != Speed.model_fields[name].default for switch in SWITCHES for name in switch)


@pytest.mark.slow
def test_a_compiled_model_gives_the_losses_of_the_plain_path(tracked, monkeypatch):
    plain, _, _ = losses_of_run(tracked, monkeypatch, trains=ALL, speed={})
    losses, _, settings = losses_of_run(tracked, monkeypatch, trains=ALL, speed=COMPILED)
    assert losses == pytest.approx(plain, abs=1e-4)  # fused kernels add in another order
    names = load_file(settings.work_root / "models" / STAGE / "model.safetensors")
    assert not [name for name in names if "_orig_mod" in name]


def test_a_stages_checkpoint_is_the_trained_model_in_plain_transformers(tracked, monkeypatch):
    from transformers import LlavaForConditionalGeneration

    settings = tiny_settings(steps=3, every=0, workers=0)
    settings = settings.model_copy(update={"tracking": tracked.tracking})
    make_packs(settings)
    trained: list = []
    saved = launch.save_vlm
    monkeypatch.setattr(launch, "save_vlm", lambda vlm, *rest: (trained.append(vlm), saved(vlm, *rest)))
    run_train(settings, STAGE)
    again = LlavaForConditionalGeneration.from_pretrained(settings.work_root / "models" / STAGE)
    ids = torch.tensor([[again.config.image_token_index] * again.config.image_seq_length + [5, 70, 9]])
    pixels = torch.rand(1, 3, *[again.config.vision_config.image_size] * 2)
    with torch.no_grad():
        ours, theirs = (model.eval()(input_ids=ids, pixel_values=pixels).logits for model in (trained[0], again))
    assert (ours - theirs).abs().max() < 1e-4


def test_an_image_is_encoded_once_and_a_restart_encodes_none(tmp_path, vlm, processor):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    pixels[5] = pixels[0]
    asked: list[int] = []

    def encode(rows):
        def compute(places):
            asked.extend(rows[place] for place in places)
            batch = torch.from_numpy(pixels[[rows[place] for place in places]]).permute(0, 3, 1, 2).float() / 255
            with torch.no_grad():
                return vision_features(vlm, batch)

        return compute

    def cache(**changes):
        return FeatureCache(tmp_path, pixels, recipe={"tower": "t", "preprocessing": "p", **changes})

    first = cache()
    once = first.features([3, 0, 3], encode([3, 0, 3]))
    again = first.features([5, 1], encode([5, 1]))
    assert asked == [3, 0, 1] and torch.equal(again[0], once[1]) and torch.equal(once[0], once[2])
    asked.clear()
    assert torch.equal(cache().features([0, 1], encode([0, 1]))[0], once[1]) and asked == []
    cache(tower="other").features([0], encode([0]))
    assert asked == [0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"feature_layer": -1}, {"feature_layer": -2}),
        ({"precision": "bf16-mixed"}, {"precision": "32-true"}),
        ({"speed": {"attention": "matrix_products"}}, {}),
    ],
    ids=["layer", "precision", "attention"],
)
def test_features_of_another_layer_or_precision_are_not_taken_for_these(before, after, tracked, monkeypatch):
    def losses(changes, **speed):
        speed = {**changes.get("speed", {}), **speed}
        changes = {**changes, "trains": ("projector",), "steps": 2, "speed": speed}
        return losses_of_run(tracked, monkeypatch, **changes)[0]

    stale = losses(before, cache_features=True)
    plain = losses(after)
    assert losses(after, cache_features=True) == plain
    assert "attention" in str(before) or stale != plain
    assert len(list(Path("var/features").iterdir())) == 2


def test_a_cache_that_was_cut_off_goes_on_from_what_is_whole(tmp_path):
    pixels = np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3)
    cache = FeatureCache(tmp_path, pixels, recipe={"tower": "t"})
    cache.features([0, 1], lambda places: torch.tensor([[[float(place)]] for place in places]))
    with (cache.folder / "index.jsonl").open("a") as handle:
        handle.write('{"names": ["half')
    again = FeatureCache(tmp_path, pixels, recipe={"tower": "t"})
    found = again.features([0, 1, 2], lambda places: torch.tensor([[[9.0 + place]] for place in places]))
    assert found.flatten().tolist() == [0.0, 1.0, 11.0] and again.computed == 1


def test_tokens_are_numbered_by_their_conversation(packs_folder, processor):
    data = data_module(packs_folder, processor, micro_batch=2)
    (_, first), second = data.train_packs[0], data.train_packs[1]
    numbers = pairs_of_tokens(first)
    assert set(numbers[numbers >= 0]) == set(range(len(first.pair_ids)))
    assert (numbers[first.supervised] >= 0).all() and (numbers[first.branches == 0] == -1).all()
    batch = data.collator([data.train_packs[0], second])
    assert batch.pairs is not None and int(batch.pairs.max()) == len(batch.pair_ids) - 1
    assert len(batch.kinds) == len(batch.pair_ids)


def test_losses_apart_are_means_over_the_tokens_of_a_source(packs_folder, processor):
    batch = data_module(packs_folder, processor).collator([data_module(packs_folder, processor).train_packs[0]])
    sources = {pair: ("odd" if number % 2 else "even") for number, pair in enumerate(batch.pair_ids)}
    apart = LossesApart(sources)
    count = int((batch.labels != -100).sum())
    apart.add(torch.arange(count, dtype=torch.float32), batch)
    taken = apart.take()
    assert set(taken) == {"loss_kind/percept", "loss_source/odd", "loss_source/even"}
    assert taken["loss_kind/percept"] == pytest.approx((count - 1) / 2)
    assert apart.take() == {}


def test_padding_to_buckets_rounds_up(packs_folder, processor):
    data = data_module(packs_folder, processor)
    rounded = Collator(data.collator.pixels, processor.image_processor, pad_id=0, multiple=64)
    assert rounded([data.train_packs[0]]).ids.shape[1] % 64 == 0


def test_only_adapters_learn_and_they_end_in_plain_weights(vlm):
    adapter = Adapter(rank=2, alpha=4.0, layers=("q_proj", "v_proj"))
    names = [name for name, _ in vlm.named_parameters()]
    before = part_hashes(vlm.named_parameters(), part_of)
    row = stage(trains=("projector", "language"), adapters={"language": adapter})
    module = StageModule(vlm, row, name="t", steps=1, log=lambda *_: None, speed=Speed())
    learning = {name.removeprefix("vlm.") for name in module.learning}
    assert {part_of(name) for name in learning} == {"projector", "language"}
    assert all(".lora_" in name for name in learning if part_of(name) == "language")
    with torch.no_grad():
        for name, parameter in vlm.named_parameters():
            if ".lora_B" in name:
                parameter.fill_(0.1)
    ids = torch.arange(12).unsqueeze(0) + 5
    with torch.no_grad():
        adapted = vlm(input_ids=ids).logits
        merge_adapters(vlm)
        merged = vlm(input_ids=ids).logits
    assert [name for name, _ in vlm.named_parameters()] == names
    assert torch.allclose(adapted, merged, atol=1e-5)
    after = part_hashes(vlm.named_parameters(), part_of)
    assert after["language"] != before["language"] and after["vision"] == before["vision"]


@pytest.mark.parametrize("trains", [("projector",), ALL], ids=len)
def test_a_stage_trains_in_pure_bfloat16(trains, tracked, monkeypatch):
    losses, points, settings = losses_of_run(
        tracked, monkeypatch, trains=trains, speed={}, precision="bf16-true", samples=1
    )
    plain, _, _ = losses_of_run(tracked, monkeypatch, trains=trains, speed={})
    assert losses == pytest.approx(plain, abs=0.2) and losses != plain
    assert "loss_kind/percept" in {name for point in points for name in point}


def test_a_layer_that_is_not_there_is_refused(vlm):
    from components.errors import ConfigError

    with pytest.raises(ConfigError, match="no layer named 'w_pack'"):
        add_adapters(vlm, {"language": Adapter(rank=2, alpha=2.0, layers=("w_pack",))})


def test_a_stage_of_adapters_runs_from_start_to_plain_checkpoint(tracked, monkeypatch):
    adapters = {"language": {"rank": 2, "alpha": 8.0, "layers": ["q_proj", "down_proj"]}}
    settings = tiny_settings(steps=4, every=0, workers=0, row={"adapters": adapters})
    settings = settings.model_copy(update={"tracking": tracked.tracking})
    make_packs(settings)
    run_train(settings, STAGE)
    assert len(outcome(settings)["seen"]) == 8
    vlm = compose_vlm(tiny_model(), "unused", seed=1)
    assert train_only(vlm, ["language"])
