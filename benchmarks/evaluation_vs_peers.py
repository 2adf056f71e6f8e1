"""How much faster is the engine than asking one question at a time? `python benchmarks/evaluation_vs_peers.py`.

The peer is the usual loop: encode the question's image, `model.generate`, next question. Both sides run the
same random model of SmolLM2-135M's shape in bfloat16 (it is made here; speed does not depend on what the
weights say, and random weights are the hardest case for equal texts: their best and second token lie close). Where
`make run` has left a trained model, its texts are compared as well, over the corpus's own test images.
Closed questions are answered in one pass over their options, and compared with generating an answer and with a
loop that scores option after option. The last line is JSON: `ratio` (open), `closed_ratio`, `same_text` (in
bfloat16), `same_text_float32` (a part of the questions, without rounding), `same_text_trained`, `same_choice`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from components.evaluation import engine
from components.evaluation.answering import GENERATED_AT_ONCE
from components.evaluation.engine import Ask
from components.model.chat import TURN_END
from components.model.vlm import VLM, compose_vlm, load_vlm, make_processor
from components.settings import LanguageModel, Model, Vision
from components.tracking.tables import iterate_rows

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
TRAINED, RECORDS = ARTIFACTS / "models" / "instruction_tuning", ARTIFACTS / "records"
OPEN_TARGET, CLOSED_TARGET = 6.0, 15.0
OPTIONS = ("yes", "no", "axial plane", "coronal plane")
QUESTIONS = ("Which plane is shown?", "Is there a lung in this image?", "Name the organ.", "Is a lesion visible?",
             "Describe the image in a sentence.", "Which modality is this?", "What is on the left?", "And right?",
             )  # fmt: skip


def make_vlm(*, layers: int, dtype: torch.dtype) -> VLM:
    """Build a random LLaVA: SmolLM2's width, a small SigLIP-shaped tower, a byte tokenizer."""
    vision = Vision(family="siglip", pretrained="", revision="", image_size=112, patch_size=16, hidden_size=384,
                    layers=6, heads=6, intermediate_size=1536, feature_layer=-1)  # fmt: skip
    language = LanguageModel(source="random", family="llama", path="", sha256="", revision="", hidden_size=576,
                             layers=layers, heads=9, key_value_heads=3, intermediate_size=1536, vocabulary=0,
                             tie_embeddings=True)  # fmt: skip
    model = Model(name="speed", vision=vision, language=language, chat_template="chatml", max_length=2048)
    made = compose_vlm(model, Path("nowhere"), seed=3)
    return VLM(made.to(dtype).eval(), make_processor(model, Path("nowhere")))


def make_images(number: int) -> dict[str, Image.Image]:
    """Draw noise, each image another."""
    rng = np.random.default_rng(0)
    return {f"r{k}": Image.fromarray(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)) for k in range(number)}


def make_asks(images: Sequence[str], *, closed: bool) -> list[Ask]:
    """Put every question to every image."""
    return [Ask((name,), f"<image>\n{text}", OPTIONS if closed else ()) for name in images for text in QUESTIONS]


def plain_open(vlm: VLM, asks: Sequence[Ask], images: dict[str, Image.Image], *, tokens: int) -> list[str]:
    """The peer: one question after the other, its image encoded each time."""
    return [vlm.answer(images[ask.images[0]], ask.prompt, max_new_tokens=tokens) for ask in asks]


def plain_options(vlm: VLM, asks: Sequence[Ask], images: dict[str, Image.Image]) -> list[str]:
    """Another peer: a forward pass over image, prompt and option for each option of each question."""
    chosen = []
    for ask in asks:
        prompt = vlm.prompt_ids(ask.prompt, 1)
        scores = [_option_score(vlm, images[ask.images[0]], prompt, option) for option in ask.options]
        chosen.append(ask.options[int(np.argmax(scores))])
    return chosen


def _option_score(vlm: VLM, image: Image.Image, prompt: list[int], option: str) -> float:
    answer = vlm.tokenizer.encode(option + TURN_END, add_special_tokens=False)
    ids = torch.tensor([[*prompt, *answer]])
    output = vlm.model.model.language_model(
        inputs_embeds=vlm.embed(ids, vlm.encode_images([image])), use_cache=False
    )
    logits = vlm.model.lm_head(output.last_hidden_state[0, len(prompt) - 1 : -1]).float()
    return float(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum())


def ours_open(vlm: VLM, asks: Sequence[Ask], images: dict[str, Image.Image], *, tokens: int) -> list[str]:
    """The engine: images once, questions together."""
    features = engine.encode_images(vlm, images.items(), advance=lambda _: None)
    answers = engine.generate_texts(
        vlm, asks, features, max_new_tokens=tokens, batch_size=GENERATED_AT_ONCE, advance=lambda _: None
    )
    return [answer.text for answer in answers]


def ours_closed(vlm: VLM, asks: Sequence[Ask], images: dict[str, Image.Image]) -> list[str]:
    """The engine: one pass over the options of all questions about an image."""
    features = engine.encode_images(vlm, images.items(), advance=lambda _: None)
    answers = engine.answer_closed(vlm, asks, features, batch_size=16, advance=lambda _: None)
    return [answer.text for answer in answers]


def timed(call: Callable[[], list[str]]) -> tuple[list[str], float]:
    """Return what a call gives, and its seconds."""
    started = time.perf_counter()
    found = call()
    return found, time.perf_counter() - started


def same_share(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the share of equal entries."""
    return float(np.mean([a == b for a, b in zip(first, second, strict=True)]))


def first_differences(asks: Sequence[Ask], ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Say where texts part, for the reader to judge."""
    return [
        f"{ask.images[0]} {ask.prompt[8:]!r}: equal for {len(os.path.commonprefix([a, b]))} of {len(b)} characters"
        for ask, a, b in zip(asks, ours, theirs, strict=True)
        if a != b
    ]


def measure(vlm: VLM, *, images: int, tokens: int) -> dict[str, Any]:
    """Time both sides on open and closed questions."""
    pictures = make_images(images)
    opened, closed = make_asks(list(pictures), closed=False), make_asks(list(pictures), closed=True)
    few = {name: pictures[name] for name in list(pictures)[:2]}
    ours_open(vlm, opened[:2], few, tokens=2)  # first calls compile and allocate
    ours, seconds = timed(lambda: ours_open(vlm, opened, pictures, tokens=tokens))
    theirs, their_seconds = timed(lambda: plain_open(vlm, opened, pictures, tokens=tokens))
    choices, closed_seconds = timed(lambda: ours_closed(vlm, closed, pictures))
    scored, scored_seconds = timed(lambda: plain_options(vlm, closed, pictures))
    for line in first_differences(opened, ours, theirs)[:5]:
        print(line)
    return {
        "name": "evaluation_vs_peers", "peer": "model.generate, a question at a time",
        "ratio": round(their_seconds / seconds, 2), "target": OPEN_TARGET,
        "closed_ratio": round(their_seconds / closed_seconds, 2), "closed_target": CLOSED_TARGET,
        "closed_ratio_option_loop": round(scored_seconds / closed_seconds, 2),
        "same_text": round(same_share(ours, theirs), 4), "same_choice": round(same_share(choices, scored), 4),
        "questions_per_second": round(len(opened) / seconds, 2),
        "closed_per_second": round(len(closed) / closed_seconds, 2),
        "peer_per_second": round(len(opened) / their_seconds, 2), "questions": len(opened), "tokens": tokens,
    }  # fmt: skip


def trained_share(*, images: int, tokens: int) -> float | None:
    """Return the share of equal texts by the trained model on test images; None before `make run`."""
    if not (TRAINED / "model.safetensors").is_file():
        return None
    vlm, pictures = load_vlm(TRAINED, dtype=torch.bfloat16), {}
    for row in iterate_rows(RECORDS, ["record_id", "image", "split", "rejected_reason"]):
        if row["split"] == "test" and not row["rejected_reason"] and len(pictures) < images:
            pictures[row["record_id"]] = Image.open(io.BytesIO(row["image"])).convert("RGB")
    asks = make_asks(list(pictures), closed=False)
    ours, theirs = (run(vlm, asks, pictures, tokens=tokens) for run in (ours_open, plain_open))
    for line in first_differences(asks, ours, theirs)[:5]:
        print(f"trained: {line}")
    return round(same_share(ours, theirs), 4)


def main() -> None:
    """Measure, print, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=48)
    wanted = parser.parse_args()
    with engine.inference():
        result = measure(
            make_vlm(layers=wanted.layers, dtype=torch.bfloat16), images=wanted.images, tokens=wanted.tokens
        )
        result["same_text_trained"] = trained_share(images=wanted.images, tokens=wanted.tokens)
    with torch.no_grad():  # without autocast
        exact, pictures = make_vlm(layers=wanted.layers, dtype=torch.float32), make_images(2)
        asks = make_asks(list(pictures), closed=False)
        pair = (run(exact, asks, pictures, tokens=wanted.tokens) for run in (ours_open, plain_open))
        result["same_text_float32"] = round(same_share(*pair), 4)
    print(f"open questions {result['ratio']}x (target {OPEN_TARGET}x), closed {result['closed_ratio']}x "
          f"(target {CLOSED_TARGET}x), same text {result['same_text']:.1%}")  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
