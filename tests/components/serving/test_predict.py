import base64
from pathlib import Path

import pytest

from components.errors import DataError, TrackingError
from components.serving.predict import address_of, answer_question, ask, read_image
from components.tracking.model_package import open_registry
from tests.fakes.models import tiny_model

CODE = Path(__file__).parents[3] / "components" / "serving" / "pyfunc_model.py"


@pytest.fixture
def registered(tracked, tmp_path: Path):
    """Settings of a registry whose champion is a random 2-layer model."""
    from components.model.vlm import compose_vlm, make_processor, save_vlm

    sizes = tiny_model()
    save_vlm(compose_vlm(sizes, tmp_path, seed=1), make_processor(sizes, tmp_path), tmp_path / "model")
    registry = open_registry(tracked)
    version = registry.register(tmp_path / "model", code=CODE, run_id="", tags={}, note="a stand-in")
    registry.move_alias("champion", version.number, expected="")
    return tracked


def test_the_champion_answers_from_the_registry_as_the_model_itself(
    registered, tmp_path: Path, png: bytes
) -> None:
    from components.model.vlm import load_vlm
    from components.serving.images import open_image

    image = tmp_path / "image.png"
    image.write_bytes(png)
    question = "Which organ is shown?"
    answer = answer_question(registered, image=image, question=question, alias="champion")
    limit = registered.evaluation.max_new_tokens
    assert answer == load_vlm(tmp_path / "model").answer(open_image(png), question, max_new_tokens=limit)
    model = open_registry(registered).load("1")
    assert ask(model, png, question, max_new_tokens=limit) == answer
    inner = model.unwrap_python_model()
    text = base64.b64encode(png).decode()
    assert inner.predict(None, {"image": [text], "question": [question]}, {"max_new_tokens": limit}) == [answer]
    for bad in ("/etc/passwd", "../image.png"):
        with pytest.raises(DataError, match="paths are not opened"):
            inner.predict(None, {"image": [bad], "question": [question]})
    with pytest.raises(DataError, match="a question has"):
        inner.predict(None, {"image": [png], "question": ["  "]})
    package = open_registry(registered).package_folder(open_registry(registered).version("1"))
    names = {path.name for path in package.rglob("*") if path.is_file()}
    assert "pyfunc_model.py" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".bin", ".pyc"))]


def test_a_package_is_laid_on_the_accelerator(registered, monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("components.evaluation.placement.device_of", lambda kind: asked.append(kind) or "meta")
    model = open_registry(registered).load("1").unwrap_python_model()
    assert asked == ["auto"] and model.vlm.model.device.type == "meta"


def test_nobody_is_champion_yet(tracked, tmp_path: Path, png: bytes) -> None:
    (tmp_path / "image.png").write_bytes(png)
    with pytest.raises(TrackingError, match="called 'champion'"):
        answer_question(tracked, image=tmp_path / "image.png", question="What?", alias="champion")


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such image"):
        read_image(tmp_path / "absent.png")
    (tmp_path / "big.png").write_bytes(b"x" * 20)
    monkeypatch.setattr("components.serving.predict.LARGEST_FILE_BYTES", 10)
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_image(tmp_path / "big.png")


@pytest.mark.parametrize(
    ("given", "address"),
    [("champion", "champion"), ("3", "3"), ("models:/gmai-vl@champion", "champion"), ("models:/gmai-vl/3", "3")],
)
def test_addresses(given: str, address: str) -> None:
    assert address_of(given) == address
