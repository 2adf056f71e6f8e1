"""Answer a question about an image file with a registered version, the champion unless another is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.errors import DataError
from components.serving.images import LARGEST_FILE_BYTES
from components.settings import Settings
from components.tracking.model_package import open_registry


def answer_question(settings: Settings, *, image: Path, question: str, alias: str) -> str:
    """Return the answer of the version that `alias` (or a version number, or `models:/name@alias`) names.

    Raises:
        DataError: the file is absent, too large, or no PNG, JPEG or DICOM.
        TrackingError: no version has that name, or the store does not answer.
    """
    from rich.console import Console

    content = read_image(image)
    with Console(stderr=True).status("loading the model"):
        model = open_registry(settings).load(address_of(alias))
        return ask(model, content, question, max_new_tokens=settings.evaluation.max_new_tokens)


def ask(model: Any, image: bytes, question: str, *, max_new_tokens: int) -> str:
    """Put one question to a loaded package."""
    import pandas as pd

    frame = pd.DataFrame({"image": [image], "question": [question]})
    return str(model.predict(frame, params={"max_new_tokens": max_new_tokens})[0])


def address_of(alias: str) -> str:
    """Return the alias or number in "champion", "3", "models:/name@champion" or "models:/name/3"."""
    if not alias.startswith("models:/"):
        return alias
    return alias.rpartition("@")[2] if "@" in alias else alias.rpartition("/")[2]


def read_image(path: Path) -> bytes:
    """Read an image file; DataError when it is not there, or too large to be one."""
    if not path.is_file():
        raise DataError("no such image", where=str(path), fix="gmai predict --image FILE --question TEXT")
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise DataError(f"the file has more than {LARGEST_FILE_BYTES} bytes", where=str(path))
    return path.read_bytes()
