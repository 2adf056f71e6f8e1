"""What a run reports is what happened: waiting is for input, padding no token, kept features no work."""

import time

import pytest
import torch

from components.model.packing import Pack
from components.settings import Stage
from components.training.apart import LossesApart, PairSources, sources_of_pairs
from components.training.checkpoint import Shelf
from components.training.forecast import PackFacts, pack_flops, shape_of
from components.training.launch import watchers
from components.training.strategies import piece_of
from components.training.telemetry import Telemetry, batch_flops, gradient_norms, part_rates
from tests.components.training.test_module import data_module, fit, stage
from tests.components.training.test_switches import ALL, losses_of_run


def mean_share(points):
    found = [point["share_waiting_for_input"] for point in points if "share_waiting_for_input" in point]
    return sum(found) / len(found)


def test_writing_a_checkpoint_is_no_waiting_for_input(tracked, monkeypatch):
    keeping = {"root": "var/checkpoints", "every_steps": 1, "keep": 2, "asynchronous": False}
    write = Shelf.write

    def slowly(shelf, *arguments, **named):
        time.sleep(0.3)
        write(shelf, *arguments, **named)

    monkeypatch.setattr(Shelf, "write", slowly)
    _, points, _ = losses_of_run(tracked, monkeypatch, trains=ALL, speed={}, checkpoint=keeping)
    assert mean_share(points) < 0.2  # 0.3 s of some 0.35 a step went into writing


def test_waiting_for_input_is_counted(tracked, monkeypatch):
    from components.training.datamodule import Collator

    collate = Collator.__call__

    def slowly(collator, items):
        time.sleep(0.3)
        return collate(collator, items)

    monkeypatch.setattr(Collator, "__call__", slowly)
    _, points, _ = losses_of_run(tracked, monkeypatch, trains=ALL, speed={})
    assert mean_share(points) > 0.5


def test_the_report_is_made_before_the_keeper_may_leave_and_the_clock_starts_after_it(vlm):
    telemetry = Telemetry(shape_of(vlm), trains=ALL, peak_flops=1.0, log=lambda *_: None, every=1)
    keeper = object()
    assert watchers(telemetry, keeper) == [telemetry, keeper, telemetry.clock]
    assert watchers(None, None) == []


def test_tokens_are_counted_without_padding_which_has_its_share(tracked, monkeypatch):
    runs = [
        losses_of_run(tracked, monkeypatch, trains=("projector",), speed={"bucket_lengths": on}, micro_batch=2)[1]
        for on in (False, True)
    ]
    plain, padded = ([point for point in points if "padding_share" in point] for points in runs)
    assert all(0 <= point["padding_share"] < 1 for point in plain)
    assert sum(point["padding_share"] for point in padded) > sum(point["padding_share"] for point in plain)


def test_a_batchs_operations_leave_padding_and_kept_features_out(vlm, packs_folder, processor):
    data, shape = data_module(packs_folder, processor), shape_of(vlm)
    (name, full), picks = data.train_packs[0], ["pair_ids", "images", "kinds"]
    first = full.segments == 0
    half = {key: getattr(full, key)[first] for key in ("ids", "positions", "branches", "supervised", "segments")}
    short = Pack(**half, **{key: getattr(full, key)[: len(full.images) // 2] for key in picks})
    packs = [(name, short), (name, full)]
    batch = data.collator(packs)
    assert batch.sizes == tuple(len(pack) for _, pack in packs) and len(set(batch.sizes)) == 2
    supervised = int((batch.labels != -100).sum())
    numbers = [(len(pack), int(pack.supervised.sum()), len(pack.images)) for _, pack in packs]
    wanted = sum(pack_flops(shape, PackFacts(1, *row), trains=("projector",)) for row in numbers)

    def counted(encoded):
        return batch_flops(shape, batch, trains=("projector",), supervised=supervised, encoded=encoded)

    images = len(batch.images)
    assert counted(images) == pytest.approx(wanted)
    tower = pack_flops(shape, PackFacts(1, 0, 0, images), trains=()) - pack_flops(
        shape, PackFacts(1, 0, 0, images), trains=(), encoded=0
    )
    assert counted(0) == pytest.approx(wanted - tower) and tower > 0


def test_utilisation_falls_to_the_work_done_when_features_are_kept(tracked, monkeypatch):
    """26 steps of two packs are more than a pass over the drill's 48, two of each square."""
    counted = []
    flops = batch_flops

    def noted(*arguments, **named):
        counted.append(named["encoded"])
        return flops(*arguments, **named)

    monkeypatch.setattr("components.training.telemetry.batch_flops", noted)
    speed = {"cache_features": True}
    losses_of_run(tracked, monkeypatch, trains=("projector",), speed=speed, steps=26)
    assert sum(counted) == 24 and counted[-1] == 0


def test_each_part_has_its_norm_and_its_rate(vlm, packs_folder, processor):
    row = Stage(**{**stage().model_dump(), "trains": ALL, "learning_rates": {"vision": 1e-6}})
    module, points = fit(vlm, row, packs_folder, processor, steps=2)
    assert [points[0][1][f"learning_rate_{part}"] for part in ALL] == [3e-3, 1e-6, 3e-3]
    groups = [{"lr": 0.5}, {"lr": 0.25}]
    names = [["vlm.model.multi_modal_projector.linear_1.weight"], ["vlm.model.vision_tower.x"]]
    assert part_rates(groups, names) == {"learning_rate_projector": 0.5, "learning_rate_vision": 0.25}
    for _, parameter in vlm.named_parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    found = gradient_norms(vlm.named_parameters(), module.trainer)
    for part, count in shape_of(vlm).parts.items():
        assert found[f"gradient_norm_{part}"] == pytest.approx(2.0 * count**0.5, rel=1e-5)


class InPieces(torch.Tensor):
    """A gradient of which this rank holds the first half; nobody may ask for the whole."""

    def to_local(self):
        return torch.Tensor(self[: len(self) // 2])

    def full_tensor(self):
        raise AssertionError("the whole gradient was gathered")


def test_a_gradient_in_pieces_is_never_whole_and_its_sums_are_added_up(monkeypatch):
    parameter = torch.zeros(8)
    parameter.grad = torch.full((8,), 3.0).as_subclass(InPieces)
    assert piece_of(parameter.grad)[1] and not piece_of(torch.zeros(2))[1]
    monkeypatch.setattr(
        "components.training.telemetry.over_ranks", lambda _, values, operation: [2 * value for value in values]
    )
    found = gradient_norms([("model.multi_modal_projector.linear_1.weight", parameter)], None)
    assert found == {"gradient_norm_projector": pytest.approx(3.0 * 8**0.5)}


def test_sources_are_found_again_in_ten_bytes_a_pair(tmp_path):
    rows = {f"pair-{number}": f"source-{number % 3}" for number in range(1000)}
    sources = PairSources(rows.items())
    assert len(sources) == 1000 and all(sources.get(pair) == source for pair, source in rows.items())
    assert sources.get("another") is None and PairSources([]).get("pair-1") is None
    assert sources._pairs.nbytes + sources._sources.nbytes == 10_000
    assert len(sources_of_pairs(tmp_path / "nowhere")) == 0


def test_losses_of_several_ranks_are_weighed_by_their_tokens(monkeypatch):
    apart = LossesApart({})
    apart._sums["loss_kind/vqa"] = [6.0, 2.0]
    other = {"loss_kind/vqa": [2.0, 6.0], "loss_kind/report": [1.0, 1.0]}
    monkeypatch.setattr(
        torch.distributed, "all_gather_object", lambda parts, mine: parts.__setitem__(slice(None), [mine, other])
    )
    assert apart.take(2) == {"loss_kind/vqa": 1.0, "loss_kind/report": 1.0} and apart.take() == {}
