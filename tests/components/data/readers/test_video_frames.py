"""Videos: folders of frames, animations and motion-JPEG; other codecs say how to get frames."""

import numpy as np
import pytest
from PIL import Image

from components.data.image import decode
from components.data.portions import refusal_row
from components.data.readers.video_frames import by_number
from components.data.reading import Rejection
from components.errors import DataError
from tests.fakes.formats_labels import jpeg_bytes, label_card, make_video, save, shade, write_avi
from tests.fakes.sources import read_all


def reasons(refused):
    return [(r.where, r.reason) for r in refused]


def test_the_golden_records(tmp_path):
    records, refused = read_all(tmp_path, make_video(tmp_path))
    assert not refused and [(r.source_path, r.labels, r.fact("frame")) for r in records] == [
        ("fake_video_frames/polyp/case1/f_1.png", ("polyp",), "0"),
        ("fake_video_frames/polyp/case1/f_10.png", ("polyp",), "2"),
        ("fake_video_frames/NORMAL/v.gif", ("normal",), "0"), ("fake_video_frames/NORMAL/v.gif", ("normal",), "2"),
        ("fake_video_frames/NORMAL/w.avi", ("normal",), "0"), ("fake_video_frames/NORMAL/w.avi", ("normal",), "2"),
    ]  # fmt: skip
    assert [r.study_key for r in records[::2]] == [r.study_key for r in records[1::2]]
    assert len({r.study_key for r in records}) == 3
    assert np.array_equal(decode(records[1].image)[..., 0], shade(10))
    assert np.array_equal(decode(records[3].image)[..., 0], shade(2))
    assert np.abs(decode(records[5].image)[..., 0].astype(int) - shade(2)).mean() < 12


def test_frames_are_thinned_from_a_start_to_a_most(tmp_path):
    card = make_video(tmp_path, options={"every": 1, "start": 1, "most": 2})
    records, _ = read_all(tmp_path, card)
    assert [r.fact("frame") for r in records] == ["1", "2"] * 3


def test_frames_are_ordered_by_their_numbers():
    assert sorted(["f_10.png", "f_2.png", "f_1.png", "e.png"], key=by_number) == [
        "e.png", "f_1.png", "f_2.png", "f_10.png"
    ]  # fmt: skip
    assert sorted(["1.png", "a.png", "01.png"], key=by_number) == ["01.png", "1.png", "a.png"]


@pytest.mark.parametrize("ending", ["webp", "png", "tif"])
def test_other_animations_are_read(ending, tmp_path):
    pictures = [Image.fromarray(np.stack([shade(number)] * 3, axis=2)) for number in range(3)]
    options = {"lossless": True} if ending == "webp" else {}
    pictures[0].save(tmp_path / f"v.{ending}", save_all=True, append_images=pictures[1:], **options)
    records, _ = read_all(tmp_path, label_card("video_frames", {"videos": ["v.*"]}))
    assert [decode(r.image)[3, 3, 0] for r in records] == [shade(number)[3, 3] for number in range(3)]


def test_another_codec_says_how_to_get_frames(tmp_path):
    for name in ("a.mp4", "b.mov"):
        (tmp_path / name).write_bytes(b"\0\0\0\x20ftypisom" + b"\0" * 64)
    write_avi(tmp_path / "c.avi", [b"\0\0\1\xb6 mpeg-4 video"])
    records, refused = read_all(tmp_path, label_card("video_frames", {"videos": ["*.*"]}))
    hint = "ffmpeg -i a.mp4 a/%06d.png, then options: frames"
    assert not records and refused[0] == Rejection("a.mp4", "video_codec_missing", hint)
    assert reasons(refused)[1:] == [("b.mov", "video_codec_missing"), ("c.avi", "video_codec_missing")]
    assert refusal_row(refused[0]) == {"where": "a.mp4", "reason": "video_codec_missing", "hint": hint}
    assert refusal_row(Rejection("a", "b")) == {"where": "a", "reason": "b"}


def test_bad_videos_are_refused_after_the_frames_that_are_whole(tmp_path):
    frames = [jpeg_bytes(number) for number in range(3)]
    avi = write_avi(tmp_path / "cut.avi", frames).read_bytes()
    (tmp_path / "cut.avi").write_bytes(avi[: avi.index(frames[2]) + 20])
    write_avi(tmp_path / "bad.avi", [frames[0], frames[1][:60]])
    (tmp_path / "none.avi").write_bytes(b"this is no AVI file at all")
    (tmp_path / "empty.gif").write_bytes(b"")
    (tmp_path / "text.gif").write_bytes(b"this is no GIF;")
    pictures = [Image.fromarray(shade(number)) for number in range(3)]
    pictures[0].save(tmp_path / "cut.gif", save_all=True, append_images=pictures[1:])
    gif = (tmp_path / "cut.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(gif[: len(gif) // 2] + b"x")
    card = label_card("video_frames", {"videos": ["*.avi", "*.gif"]})
    records, refused = read_all(tmp_path, card)
    assert [r.source_path.split("/")[1] for r in records] == ["bad.avi", "cut.avi", "cut.avi"]
    assert reasons(refused) == [
        ("bad.avi", "file_unreadable"), ("cut.avi", "file_truncated"), ("cut.gif", "file_truncated"),
        ("empty.gif", "file_empty"), ("none.avi", "file_unreadable"), ("text.gif", "file_unreadable"),
    ]  # fmt: skip


def test_bad_frames_and_unknown_classes_are_refused_one_by_one(tmp_path):
    card = make_video(tmp_path, options={"every": 1, "videos": []})
    (tmp_path / "polyp" / "case1" / "f_2.png").write_bytes(b"")
    save(tmp_path / "horn" / "case2" / "f_1.png")
    records, refused = read_all(tmp_path, card)
    assert len(records) == 2 and reasons(refused) == [
        ("horn/case2/f_1.png", "label_not_in_vocabulary"), ("polyp/case1/f_2.png", "file_empty")
    ]  # fmt: skip


def test_labels_may_come_from_a_table(tmp_path):
    for name in ("v1", "v2"):
        save(tmp_path / name / "f_1.png", shade(len(name)))
    (tmp_path / "t.csv").write_text("video,label\nv1,polyp\n")
    table = {"file": "t.csv", "key": "{video}", "matches": "{folder}", "label_column": "label"}
    records, refused = read_all(tmp_path, label_card("video_frames", {"frames": ["*/*.png"], "table": table}))
    assert [r.labels for r in records] == [("polyp",)] and reasons(refused) == [("v2/f_1.png", "row_missing")]


def test_phases_come_from_a_table_a_video(tmp_path):
    for video, count in (("v1", 4), ("v2", 1)):
        for number in range(count):
            save(tmp_path / "frames" / video / f"{number}.png", shade(number))
    (tmp_path / "v1-phase.txt").write_text("Frame\tPhase\n0\tpolyp\n50\tcyst\nx\tcyst\n")
    segments = {
        "file": "{name}-phase.txt", "delimiter": "\t", "start": "Frame", "label_column": "Phase",
        "frames_per_unit": 0.04,
    }  # fmt: skip
    card = label_card("video_frames", {"frames": ["frames/*/*.png"], "segments": segments})
    records, refused = read_all(tmp_path, card)
    assert [r.labels for r in records] == [("polyp",)] * 2 + [("cyst",)] * 2
    assert reasons(refused) == [("v1-phase.txt#row/3", "box_not_a_number"), ("frames/v2", "file_missing")]


def test_a_card_must_say_where_the_videos_are(tmp_path):
    with pytest.raises(DataError, match="`videos` or `frames`"):
        read_all(tmp_path, label_card("video_frames", {}))
