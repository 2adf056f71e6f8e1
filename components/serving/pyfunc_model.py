"""The registered model, as code beside its safetensors: image bytes and a question in, an answer out.

MLflow runs this file when it packages and when it loads a version. Weights are read without pickle and
without remote code; transformers stays offline.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import pandas as pd

from components.errors import DataError
from components.tracking.served import PythonModel, serve

LONGEST_QUESTION = 2000
MAX_NEW_TOKENS = 48


class AnswerModel(PythonModel):
    """Answers questions about images."""

    def load_context(self, context: Any) -> None:
        """Load weights and processor from the package, onto the accelerator if there is one."""
        from components.evaluation.placement import device_of
        from components.model.vlm import load_vlm

        self.vlm = load_vlm(Path(context.artifacts["model"]))
        self.vlm.model.to(device_of("auto"))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[str]:
        """Answer each row of (image, question); `image` is bytes, or base64 text of them.

        Raises:
            DataError: an image does not decode, or a question is empty or too long.
        """
        limit = int((params or {}).get("max_new_tokens", MAX_NEW_TOKENS))
        rows = zip(model_input["image"], model_input["question"], strict=True)
        return [self._answer(image, str(question), limit) for image, question in rows]

    def _answer(self, image: bytes | str, question: str, limit: int) -> str:
        from components.serving.images import open_image

        if not question.strip() or len(question) > LONGEST_QUESTION:
            raise DataError(f"a question has 1 to {LONGEST_QUESTION} characters, this one {len(question)}")
        return self.vlm.answer(open_image(image_bytes(image)), question.strip(), max_new_tokens=limit)


def image_bytes(image: bytes | str) -> bytes:
    """Return the bytes themselves, or those that base64 text stands for; DataError for other text."""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise DataError("the image is neither bytes nor base64 text (paths are not opened)") from error


serve(AnswerModel())
