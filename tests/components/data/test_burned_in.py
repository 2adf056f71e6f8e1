"""Text in pixels is found on a sample, counted with its upper bound, and what shows it is not kept."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from components.data import burned_in
from components.data.burned_in import REASON, RapidReader, Screen, has_text, rates, screen_samples, upper_bound
from components.data.image import encode_png
from components.data.reading import Rejection
from components.errors import ConfigError
from components.settings import BurnedInText
from tests.fakes.tables import make_record

ALL = BurnedInText(share=1.0)


class Reader:
    """Reads white images as a name, all others as nothing."""

    name = "reader of tests"

    def read(self, pixels):
        assert pixels.ndim == 3 and pixels.shape[2] == 3
        return [("SMITH 123", 0.99)] if pixels.min() == 255 else []


def record_of(name, value=0, **changes):
    pixels = np.full((8, 8), value, dtype=np.uint8)
    made = make_record(0, patient="p", split="train")
    named = {"record_id": name, "source_path": f"fake/{name}.png", "image": encode_png(pixels)}
    return replace(made, width=8, height=8, **named | changes)


def screened(samples, options=ALL):
    screen = Screen(options, Reader())
    return list(screen_samples(samples, screen)), screen


def test_an_image_with_text_is_quarantined_by_name_and_counted():
    told, screen = screened([record_of("a", 255), record_of("b"), Rejection("c", "file_empty")])
    assert told == [Rejection("fake/a.png", REASON), record_of("b"), Rejection("c", "file_empty")]
    counts = screen.counts()
    assert (counts["looked_at"], counts["hits"], counts["rate"]) == (2, 1, 0.5) and counts["reader"] == Reader.name


def test_without_a_screen_everything_passes():
    assert list(screen_samples([record_of("a", 255)], None)) == [record_of("a", 255)]


@pytest.mark.parametrize(("first", "second"), [(255, 0), (0, 255), (255, 255)])
def test_both_images_of_a_pair_go_when_one_shows_text(first, second):
    pair = [record_of("a", first, compared_with="b"), record_of("b", second)]
    told, _ = screened([*pair, record_of("c")])
    assert sorted(s.where for s in told if isinstance(s, Rejection)) == ["fake/a.png", "fake/b.png"]
    assert told[-1] == record_of("c")


def test_a_pair_without_text_keeps_its_order_and_what_speaks_of_a_refused_image_goes_with_it():
    pair = [record_of("a", compared_with="b"), record_of("b")]
    assert screened(pair)[0] == pair
    said = replace(record_of("said"), width=0, image=b"", compared_with="a b")
    told, _ = screened([record_of("a", 255), record_of("b"), said])
    assert [isinstance(s, Rejection) for s in told] == [True, False, True]


def test_a_first_image_whose_second_never_comes_is_kept():
    lonely = record_of("a", compared_with="gone")
    assert screened([lonely])[0] == [lonely]


def test_the_sample_is_drawn_by_id_and_weighted_by_modality():
    def share(modality):
        screen = Screen(BurnedInText(share=0.05, weights={"Ultrasound": 10}), Reader())
        return sum(screen.is_chosen(record_of(f"r{n}", modality=modality)) for n in range(600)) / 600

    assert 0.02 < share("CT") < 0.09 and 0.42 < share("Ultrasound") < 0.58 and share("CT") == share("CT")


def test_a_line_is_text_when_it_is_long_and_sure_enough():
    assert has_text([("AB1", 0.8)], ALL) and has_text([("x", 1.0), ("12-34", 0.9)], ALL)
    assert not has_text([("A", 0.99), ("AB1", 0.79), ("--- .", 1.0)], ALL)


def test_the_upper_bound_is_clopper_and_pearsons():
    # One-sided 95 %: no hit in n gives 1 - 0.05 ** (1 / n); 3 of 100 from the published tables (Conover 1999).
    assert upper_bound(0, 3000) == pytest.approx(1 - 0.05 ** (1 / 3000), abs=1e-6)
    assert upper_bound(0, 3000) < 0.001 and upper_bound(3, 100) == pytest.approx(0.0757, abs=2e-4)
    assert upper_bound(0, 0) == upper_bound(2, 2) == 1.0
    found = rates({"CT": 10, "Ultrasound": 10}, {"Ultrasound": 1})
    assert found["by_modality"]["CT"]["upper_bound_95"] == upper_bound(0, 10) and found["hits"] == 1


def test_without_the_library_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rapidocr", None)
    with pytest.raises(ConfigError, match=r"pip install -e '.\[ocr\]'"):
        RapidReader()


def planted(size, seed):
    """Noise on a ramp with a name and a number, `size` pixels high, somewhere in it."""
    rng = np.random.default_rng(seed)
    noise = (rng.random((384, 384)) * 60 + np.linspace(0, 120, 384)[None]).astype(np.uint8)
    picture = Image.fromarray(noise)
    place = (int(rng.integers(5, 90)), int(rng.integers(5, 340)))
    ImageDraw.Draw(picture).text(place, "SMITH JOHN 12345", fill=255, font=ImageFont.load_default(size))
    return np.repeat(np.asarray(picture)[:, :, None], 3, axis=2)


def test_the_real_reader_finds_planted_names_and_none_in_noise():
    pytest.importorskip("rapidocr", reason="the ocr extra is not installed")
    reader = burned_in.RapidReader()
    seen = [has_text(reader.read(planted(size, seed)), ALL) for size in (12, 16, 24) for seed in range(4)]
    assert sum(seen) >= 11  # measured: 12 of 12
    noise = np.random.default_rng(1).integers(0, 255, (384, 384, 3), dtype=np.uint8)
    assert not has_text(reader.read(noise), ALL) and reader.name.startswith("rapidocr ")
