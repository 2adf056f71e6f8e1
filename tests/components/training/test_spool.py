"""What waits on disk comes back as it went in, and neither packs nor pixels make a process grow."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.model.chat import EncodedConversation
from components.model.packing import Segment
from components.tracking.tables import ShardWriter, write_table
from components.training import pack
from components.training.pack import in_order_of_text, pack_schema
from components.training.spool import ArraySpool, ConversationSpool, PixelFile, SegmentSpool
from components.training.stored_packs import EvenShare, PackDataset
from tests.fakes.models import tiny_vision
from tests.fakes.tables import make_record

ROOT = Path(__file__).parents[3]
MEGABYTE = 1 << 20
TOKENS, PACKS = 1024, 8000  # 13 bytes a token: 106 MB decoded
PICTURES, SIDE = 1200, 224  # 181 MB of pixels


def test_conversations_and_segments_come_back_as_they_went_in(tmp_path):
    conversations = ConversationSpool(tmp_path)
    given = {f"p{n}": EncodedConversation(tuple(range(n + 1)), (n % 2 == 0,) * (n + 1), n // 2) for n in range(50)}
    for pair_id, conversation in given.items():
        conversations.add(pair_id, conversation)
    assert dict(conversations) == given and "another" not in conversations and len(conversations) == 50
    row = Segment(("a", "b"), (3,), *(np.arange(5, dtype=kind) for kind in (np.int32, np.int32, np.int16)),
                  np.array([True, False, True, False, True]))  # fmt: skip
    with SegmentSpool(None) as segments:
        segments.add(row), segments.add(row)
        again = segments[1]
        assert again.pair_ids == row.pair_ids and again.images == row.images and len(segments) == 2
        for name in ("ids", "positions", "branches", "supervised"):
            assert getattr(again, name).dtype == getattr(row, name).dtype
            assert getattr(again, name).tolist() == getattr(row, name).tolist()
    assert list(tmp_path.iterdir()) == []  # spools have no name


def test_rows_may_be_read_between_two_that_are_written():
    spool = ArraySpool(None, (np.int32,))
    for number in range(20):
        spool.add(range(number))
        assert spool[number // 2][0].tolist() == list(range(number // 2))


@pytest.mark.parametrize("sizes", [(0,), (3,), (64, 64, 7), (1,) * 12])
def test_pixels_written_in_batches_are_the_bytes_that_numpy_saves(sizes, tmp_path):
    parts = [np.random.default_rng(n).integers(0, 255, (n, 8, 8, 3), dtype=np.uint8) for n in sizes]
    with PixelFile(tmp_path / "pixels.npy") as file:
        for part in parts:
            file.add(part)
    np.save(tmp_path / "wanted.npy", np.concatenate(parts))
    assert (tmp_path / "pixels.npy").read_bytes() == (tmp_path / "wanted.npy").read_bytes()


def test_groups_keep_the_order_of_their_text():
    generator = np.random.default_rng(0)
    names = ["a", "ab", "b", "it's", 'say "so"', "0f3", "(", "a, ", "')"]
    keys = {
        (tuple(generator.choice(names, size=generator.integers(1, 4)).tolist()), tuple(prefix))
        for prefix in ((), (1,), (1, 2), (12,), (2, 1), (1, 2, 3))
        for _ in range(40)
    }
    keys |= {"0f3", "ab", "zz", "9"}
    assert in_order_of_text(keys) == sorted(keys, key=str)


def test_a_share_is_even_and_counts_each_pack_once(tmp_path):
    write_packs(tmp_path, 7, tokens=6)
    packs = PackDataset(tmp_path)
    for count in (7, 5, 6, 100):
        shares = [EvenShare(packs, count=count, rank=rank, ranks=3) for rank in range(3)]
        assert len({len(share) for share in shares}) == 1
        rows = [share[index] for index in range(len(shares[0])) for share in shares]
        learned = [pack_id for pack_id, row in rows if row.supervised.any()]
        assert learned == [packs[index][0] for index in range(min(count, 7))]
    with pytest.raises(IndexError):
        packs[7]
    assert packs[-1][0] == packs[6][0]


def write_packs(folder, count, *, tokens=TOKENS):
    """Write packs of random tokens a row group at a time."""
    generator = np.random.default_rng(0)
    with ShardWriter(folder, pack_schema(), shard_bytes=8 * MEGABYTE) as writer:
        for start in range(0, count, 100):
            writer.write_table(random_packs(generator, start, min(100, count - start), tokens))


def random_packs(generator, start, count, tokens):
    def lists(values, kind):
        offsets = np.arange(count + 1, dtype=np.int32) * (len(values) // count)
        return pa.ListArray.from_arrays(offsets, pa.array(values, kind))

    numbers = generator.integers(0, 30000, count * tokens)
    small = (numbers % 7).astype(np.int16)
    names = [f"{start + n:06d}" for n in range(count)]
    columns = [
        pa.array(names), lists(names, pa.string()), lists(np.arange(count), pa.int32()),
        lists(numbers, pa.int32()), lists(numbers % 1000, pa.int32()), lists(small, pa.int16()),
        lists(np.ones(count * tokens, bool), pa.bool_()),
        lists(small * 0, pa.int16()), lists(["vqa"] * count, pa.string()),
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=pack_schema())


def test_a_pack_is_the_row_that_was_written_whatever_is_kept(tmp_path):
    write_packs(tmp_path, 450, tokens=16)
    few, all_of_them = PackDataset(tmp_path, kept_bytes=1), PackDataset(tmp_path)
    rows = [row for path in sorted(tmp_path.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    for index in np.random.default_rng(1).permutation(450).tolist():
        for packs in (few, all_of_them):
            pack_id, found = packs[index]
            row = rows[index]
            assert pack_id == row["pack_id"] and list(found.pair_ids) == row["pair_ids"]
            assert found.ids.tolist() == row["ids"] and found.kinds == tuple(row["kinds"])
    assert len(few._kept) == 1 and len(all_of_them._kept) == 5


def growth_in_a_process(*arguments):
    """Return the megabytes of its own that a fresh process holds at its peak beyond what it began with."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_reading_packs_takes_the_same_memory_however_many_there_are(tmp_path):
    write_packs(tmp_path, PACKS)
    assert growth_in_a_process("packs", tmp_path) < 50


@pytest.mark.slow
def test_writing_pixels_takes_the_same_memory_however_many_there_are(tmp_path):
    assert growth_in_a_process("pixels", tmp_path) < 90
    assert (tmp_path / "images" / "pixels.npy").stat().st_size > PICTURES * SIDE**2 * 3


def own_megabytes():
    """Pages of this process that no file stands behind: what is mapped from disk can be dropped at any time."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


def read_packs(folder):
    packs = PackDataset(folder, kept_bytes=8 * MEGABYTE)
    order = np.random.default_rng(0).integers(0, len(packs), 600).tolist()
    packs[0]
    start = own_megabytes()
    peak = start
    for index in order:
        packs[index]
        peak = max(peak, own_megabytes())
    return peak - start


def write_pixels(folder):
    from PIL import Image

    from components.model.vision import make_image_processor
    from components.records import record_schema, to_rows

    vision = tiny_vision(image_size=SIDE)
    content = io.BytesIO()
    Image.new("RGB", (40, 40), (9, 8, 7)).save(content, "PNG")
    records = (
        make_record(number, patient="p", split="train", image=content.getvalue(), width=40, height=40)
        for number in range(PICTURES)
    )
    write_table(folder / "records", to_rows(records), record_schema())
    needed = {f"record{number:03d}" for number in range(PICTURES)}
    processor = make_image_processor(vision)
    start, peak, add = own_megabytes(), [0.0], PixelFile.add

    def noted(file, rows):
        add(file, rows)
        peak[0] = max(peak[0], own_megabytes())

    PixelFile.add = noted
    pack._write_images(folder / "images", needed, folder / "records", processor, vision)
    return peak[0] - start


if __name__ == "__main__":
    print({"packs": read_packs, "pixels": write_pixels}[sys.argv[1]](Path(sys.argv[2])))
