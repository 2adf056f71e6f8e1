import os
import sys
from dataclasses import replace

import pytest
import torch

from components.errors import CheckpointError
from components.training.checkpoint import LATEST, Identity, Shelf, check_complete

IDENTITY = Identity("second", "a" * 64, "b" * 64)


def shelf_at(root, *, identity=IDENTITY, keep=2):
    return Shelf(root, identity, keep=keep)


def put(shelf, step):
    shelf.write({"weight": torch.full((4,), float(step))}, shelf.path_of(step), facts={"step": step})


def value_of(shelf, path):
    return float(shelf.read(path)["weight"][0])


def test_the_newest_verified_checkpoint_is_found_and_older_ones_go(tmp_path):
    shelf = shelf_at(tmp_path)
    assert shelf.newest() is None
    for step in (5, 10, 15):
        put(shelf, step)
    assert [path.name for path in sorted(shelf.folder.glob("step-*"))] == ["step-00000010", "step-00000015"]
    assert (shelf.folder / LATEST).read_text() == "step-00000015"
    assert value_of(shelf, shelf.newest()) == 15.0 and shelf.facts_of(shelf.newest()) == {"step": 15}


@pytest.mark.parametrize("names", [b"step-00000005", b"", b"step-00000015", b"../other", b"\xff\xfe", None])
def test_a_whole_checkpoint_that_latest_does_not_name_is_gone_on_from(names, tmp_path):
    """Killed between the rename and the moving of `latest`, which still names the one before."""
    shelf = shelf_at(tmp_path)
    put(shelf, 5), put(shelf, 10)
    (shelf.folder / LATEST).unlink() if names is None else (shelf.folder / LATEST).write_bytes(names)
    assert shelf.newest() == shelf.path_of(10) and value_of(shelf, shelf.newest()) == 10.0
    (shelf.path_of(10) / "state.json").unlink()
    assert shelf.newest() == shelf.path_of(5)
    shelf.forget_after(5)
    assert not shelf.path_of(10).exists() and shelf.newest() == shelf.path_of(5)


@pytest.mark.parametrize("damage", ["cut", "missing", "extra", "manifest"])
def test_a_damaged_checkpoint_is_named_and_passed_over(damage, tmp_path):
    shelf = shelf_at(tmp_path)
    put(shelf, 5), put(shelf, 10)
    newest = shelf.path_of(10)
    if damage == "cut":
        os.truncate(newest / "state.safetensors", 20)
    elif damage == "missing":
        (newest / "state.json").unlink()
    elif damage == "extra":
        (newest / "optimizer.pt").write_bytes(b"pickle")
    else:
        (newest / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError):
        check_complete(newest)
    assert value_of(shelf, shelf.newest()) == 5.0


GARBAGE = [
    b"\xff\xfe\x80garbage", b"", b"{", b"{}", b"[]", b"null", b"7",
    b'{"files": [], "identity": {}, "facts": {}}', b'{"files": {}, "identity": null, "facts": {}}',
    b'{"files": {}, "identity": {}, "facts": {}}',
]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_manifest_that_is_garbage_is_passed_over_and_said_to_be_damaged(garbage, tmp_path):
    shelf = shelf_at(tmp_path)
    put(shelf, 5), put(shelf, 10)
    (shelf.path_of(10) / "manifest.json").write_bytes(garbage)
    with pytest.raises(CheckpointError):
        check_complete(shelf.path_of(10))
    assert shelf.newest() == shelf.path_of(5)
    other = shelf_at(tmp_path, identity=replace(IDENTITY, data="c" * 64))
    assert other.newest() is None
    damaged, foreign = sorted(other.others(), key=lambda reason: reason.endswith("other data"))
    assert "step-00000010" in damaged and foreign.endswith("other data")


def test_a_manifest_whose_facts_were_altered_is_not_believed(tmp_path):
    shelf = shelf_at(tmp_path)
    put(shelf, 5), put(shelf, 10)
    file = shelf.path_of(10) / "manifest.json"
    file.write_text(file.read_text().replace('"step": 10', '"step": 12'))
    assert shelf.newest() == shelf.path_of(5)
    with pytest.raises(CheckpointError, match="altered"):
        shelf.facts_of(shelf.path_of(10))


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_a_file_cut_at_any_length_is_noticed(name, tmp_path):
    shelf = shelf_at(tmp_path)
    put(shelf, 5), put(shelf, 10)
    file = shelf.path_of(10) / name
    whole = file.read_bytes()
    for length in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 2}:
        file.write_bytes(whole[:length])
        assert shelf.newest() == shelf.path_of(5), length
    file.write_bytes(whole)
    assert shelf.newest() == shelf.path_of(10)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999, 1.0])
def test_a_kill_inside_the_writing_of_tensors_leaves_the_one_before(share, tmp_path, monkeypatch):
    """Tensors are written by Rust, where no audit hook of Python's sees the single writes."""
    import safetensors.torch

    def written_in_part(tensors, path):
        content = safetensors.torch.save(tensors)
        path.write_bytes(content[: int(len(content) * share)])
        os._exit(9)

    shelf = shelf_at(tmp_path)
    put(shelf, 5)
    process = os.fork()
    if not process:
        monkeypatch.setattr(safetensors.torch, "save_file", written_in_part)
        put(shelf, 10)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    assert (shelf.folder / ".step-00000010.aside" / "state.safetensors").is_file()
    assert shelf.newest() == shelf.path_of(5) and value_of(shelf, shelf.newest()) == 5.0
    put(shelf, 10)
    assert value_of(shelf, shelf.newest()) == 10.0 and not list(shelf.folder.glob(".*.aside"))


@pytest.mark.parametrize("field", ["stage", "settings", "data"])
def test_a_checkpoint_of_something_else_is_refused_and_said_to_be(field, tmp_path):
    mine = shelf_at(tmp_path)
    put(mine, 5)
    other = shelf_at(tmp_path, identity=replace(IDENTITY, **{field: "c" * 64}))
    with pytest.raises(CheckpointError, match=rf"belongs to other {field}\n"):
        other.read(mine.path_of(5))
    assert other.newest() is None
    if field != "stage":
        assert [reason.endswith(f"other {field}") for reason in other.others()] == [True]


def write_calls_until(limit):
    """Leave at once, as SIGKILL would, at the limit-th call that changes the disk."""
    count = 0

    def hook(event, arguments):
        nonlocal count
        changes = event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if changes or writes:
            count += 1
            if count == limit:
                os._exit(9)

    return hook


def test_a_kill_at_each_write_call_leaves_a_loadable_checkpoint(tmp_path):
    shelf = shelf_at(tmp_path, keep=1)
    put(shelf, 5)
    for limit in range(1, 200):
        process = os.fork()
        if not process:
            sys.addaudithook(write_calls_until(limit))
            put(shelf, 10)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert value_of(shelf, shelf.newest()) in (5.0, 10.0)
        if code == 0:
            break
        if not shelf.path_of(5).is_dir():
            assert shelf.newest() == shelf.path_of(10)
            put(shelf, 5)
    assert limit > 10 and shelf.newest() == shelf.path_of(10)


def test_an_error_of_writing_beside_the_training_comes_with_the_next_call(tmp_path, monkeypatch):
    shelf = Shelf(tmp_path, IDENTITY, keep=2, asynchronous=True)
    weight = torch.zeros(4)
    shelf.write({"weight": weight}, shelf.path_of(5), facts={})
    weight.fill_(7.0)  # what trains on does not reach the copy
    assert value_of(shelf, shelf.newest()) == 0.0
    monkeypatch.setattr("components.training.checkpoint.check_complete", broken_disk)
    shelf.write({"weight": weight}, shelf.path_of(10), facts={})
    with pytest.raises(OSError, match="disk"):
        shelf.finish()
    monkeypatch.undo()
    put(shelf, 15)
    shelf.close()
    assert shelf.newest() == shelf.path_of(15)


def broken_disk(*_):
    raise OSError("disk")


def test_samples_are_kept_by_checkpoint_and_forgotten_when_trained_again(tmp_path):
    shelf = shelf_at(tmp_path)
    shelf.write_samples([(0, "a"), (1, "b")], step=2)
    shelf.write_samples([(2, "c")], step=3)
    assert shelf.samples(until=2) == [(0, "a"), (1, "b")]
    shelf.forget_after(2)
    assert shelf.samples(until=9) == [(0, "a"), (1, "b")]


def test_packs_left_out_stay_left_out_and_a_committed_stage_leaves_nothing(tmp_path):
    shelf = shelf_at(tmp_path)
    shelf.skip({"p1": {"reason": "nan", "pairs": ["x"], "rollback": 1}})
    shelf.skip({"p2": {"reason": "nan", "pairs": [], "rollback": 2}})
    assert set(shelf_at(tmp_path).skipped()) == {"p1", "p2"}
    shelf.clear()
    assert not shelf.stage_folder.exists()
