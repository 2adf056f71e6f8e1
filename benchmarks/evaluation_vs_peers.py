"""How much faster is the engine than asking one question at a time? `python benchmarks/evaluation_vs_peers.py`.

The peer is the usual loop: encode the question's image, `model.generate`, next question. Both sides run the same
random model of SmolLM2-135M's shape, vocabulary and all (it is made here, and needs no file; speed does not
depend on what the weights say, and random weights are the hardest case for equal texts: their best and second
token lie close). Its tokenizer has a token a word, as SmolLM2's has for most of these. Both sides attend alike,
and compute on the same prepared machine.

The first figures are those with the same outputs, in float32 on both sides, where rounding decides next to
nothing. bfloat16, in which `evaluate` runs, is measured beside it (`bfloat16`): there a batch rounds otherwise
than a single row does, and where two texts part, the gap between the peer's best and second token is printed
beside bfloat16's step at that size: a gap of a step or two is decided by rounding. Where `make run` has left a
trained model, its texts are compared as well, over the corpus's own test images.

Closed questions are answered in one pass over their options, and held against three loops. `closed_ratio` is the
one that gives the same outputs: a forward pass over image, prompt and option for each option of each question.
`closed_ratio_generate` is `model.generate` bounded to the longest option's tokens, which chooses nothing and
often says something else; `closed_ratio_free_text` is `model.generate` with the open questions' bound, as who
reads the option out of a free answer asks. The last line is JSON: ratios are of wall time, those called `cpu_…`
of processor time (they hold on a busy machine); `met` says which targets are reached. Alone on two cores it
takes some six minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from components.evaluation import engine
from components.evaluation.answering import GENERATED_AT_ONCE
from components.evaluation.engine import Ask
from components.model.attention import NAME, attend
from components.model.chat import TURN_END
from components.model.language import make_byte_tokenizer
from components.model.machine import prepare_machine
from components.model.vlm import VLM, compose_vlm, load_vlm, make_processor
from components.settings import LanguageModel, Model, Vision
from components.tracking.tables import iterate_rows

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
TRAINED, RECORDS = ARTIFACTS / "models" / "instruction_tuning", ARTIFACTS / "records"
OPEN_TARGET, CLOSED_TARGET, SAME_TARGET = 6.0, 15.0, 0.99
VOCABULARY = 49152
OPTIONS = ("yes", "no", "axial plane", "coronal plane")
QUESTIONS = ("Which plane is shown?", "Is there a lung in this image?", "Name the organ.", "Is a lesion visible?",
             "Describe the image in a sentence.", "Which modality is this?", "What is on the left?", "And right?",
             )  # fmt: skip
Pictures = dict[str, Image.Image]


def make_word_tokenizer() -> Any:
    """Build SmolLM2's shape of a tokenizer: bytes, the words used here as one token each, others never met."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    plain = make_byte_tokenizer().backend_tokenizer
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = plain.pre_tokenizer
    words = [*QUESTIONS, *OPTIONS, "user", "assistant"] * 2
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=2000, min_frequency=1, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator(words, trainer)
    learned = json.loads(learner.to_str())["model"]
    known = list(dict.fromkeys([*plain.get_vocab(), *learned["vocab"]]))
    known += [f"\u0120w{number}" for number in range(VOCABULARY - 1 - len(known))]  # one place is <image>'s
    tokenizer = Tokenizer(BPE(vocab={token: place for place, token in enumerate(known)},
                              merges=[tuple(pair) for pair in learned["merges"]]))  # fmt: skip
    tokenizer.pre_tokenizer, tokenizer.decoder = plain.pre_tokenizer, decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=TURN_END, pad_token="<|endoftext|>", bos_token="<|im_start|>"
    )


def make_vlm(*, layers: int, dtype: torch.dtype) -> VLM:
    """Build a random LLaVA: SmolLM2's sizes, a small SigLIP-shaped tower."""
    from tokenizers import AddedToken

    vision = Vision(family="siglip", pretrained="", revision="", image_size=112, patch_size=16, hidden_size=384,
                    layers=6, heads=6, intermediate_size=1536, feature_layer=-1)  # fmt: skip
    language = LanguageModel(source="random", family="llama", path="", sha256="", revision="", hidden_size=576,
                             layers=layers, heads=9, key_value_heads=3, intermediate_size=1536,
                             vocabulary=VOCABULARY, tie_embeddings=True)  # fmt: skip
    model = Model(name="speed", vision=vision, language=language, chat_template="chatml", max_length=2048)
    made = compose_vlm(model, Path("nowhere"), seed=3)
    attend(made, NAME)
    processor = make_processor(model, Path("nowhere"))
    words = make_word_tokenizer()
    words.add_tokens([AddedToken("<image>", special=True, normalized=False)], special_tokens=True)
    processor.tokenizer = words
    made.config.image_token_index = words.convert_tokens_to_ids("<image>")
    return VLM(made.to(dtype).eval(), processor)


def make_images(number: int) -> Pictures:
    """Draw noise, each image another."""
    rng = np.random.default_rng(0)
    return {f"r{k}": Image.fromarray(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)) for k in range(number)}


def make_asks(images: Sequence[str], *, closed: bool) -> list[Ask]:
    """Put every question to every image."""
    return [Ask((name,), f"<image>\n{text}", OPTIONS if closed else ()) for name in images for text in QUESTIONS]


def plain_open(vlm: VLM, asks: Sequence[Ask], images: Pictures, *, tokens: int) -> list[str]:
    """The peer: one question after the other, its image encoded each time."""
    return [vlm.answer(images[ask.images[0]], ask.prompt, max_new_tokens=tokens) for ask in asks]


def plain_options(vlm: VLM, asks: Sequence[Ask], images: Pictures) -> list[str]:
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


def ours_open(vlm: VLM, asks: Sequence[Ask], images: Pictures, *, tokens: int) -> list[str]:
    """The engine: images once, questions together."""
    features = engine.encode_images(vlm, images.items(), advance=lambda _: None)
    answers = engine.generate_texts(
        vlm, asks, features, max_new_tokens=tokens, batch_size=GENERATED_AT_ONCE, advance=lambda _: None
    )
    return [answer.text for answer in answers]


def ours_closed(vlm: VLM, asks: Sequence[Ask], images: Pictures) -> list[str]:
    """The engine: one pass over the options of all questions about an image."""
    features = engine.encode_images(vlm, images.items(), advance=lambda _: None)
    answers = engine.answer_closed(vlm, asks, features, batch_size=16, advance=lambda _: None)
    return [answer.text for answer in answers]


@dataclass(frozen=True)
class Timed:
    """What a call gave, its wall seconds and its processor seconds."""

    found: list[str]
    wall: float
    cpu: float


def timed(call: Callable[[], list[str]]) -> Timed:
    """Call and look at both clocks."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return Timed(found, time.perf_counter() - wall, time.process_time() - cpu)


def same_share(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the share of equal entries."""
    return float(np.mean([a == b for a, b in zip(first, second, strict=True)]))


def divergence(vlm: VLM, ask: Ask, image: Image.Image, ours: str, *, tokens: int) -> dict[str, float]:
    """Say where our text leaves the peer's: the token's place, the gap of the peer's best two, bfloat16's step."""
    [features] = vlm.encode_each([image])
    ids = torch.tensor([vlm.prompt_ids(ask.prompt, tokens=[len(features)])])
    output = vlm.model.generate(
        inputs_embeds=vlm.embed(ids, features), attention_mask=torch.ones_like(ids), max_new_tokens=tokens,
        do_sample=False, eos_token_id=vlm.tokenizer.convert_tokens_to_ids(TURN_END),
        pad_token_id=vlm.tokenizer.pad_token_id, output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    texts = [vlm.tokenizer.decode(output.sequences[0][: k + 1], skip_special_tokens=True).strip()
             for k in range(len(output.scores))]  # fmt: skip
    place = next((k for k, text in enumerate(texts) if not ours.startswith(text)), len(texts) - 1)
    best, second = output.scores[place][0].float().topk(2).values.tolist()
    step = 2.0 ** (np.floor(np.log2(max(abs(best), 1e-9))) - 7)  # bfloat16 keeps 8 bits of a number
    return {"token": place, "gap": round(best - second, 5), "bfloat16_step": float(step)}


def divergences(
    vlm: VLM, asks: Sequence[Ask], images: Pictures, ours: Sequence[str], theirs: Sequence[str], *, tokens: int
) -> list[dict[str, float]]:
    """Explain every pair of texts that are not the same, and print it."""
    found = []
    for ask, mine, other in zip(asks, ours, theirs, strict=True):
        if mine != other:
            found.append(divergence(vlm, ask, images[ask.images[0]], mine, tokens=tokens))
            row = found[-1]
            print(f"{ask.images[0]} {ask.prompt[8:]!r}: apart at token {row['token']}, gap of best and second "
                  f"{row['gap']}, a step of bfloat16 there is {row['bfloat16_step']}")  # fmt: skip
    return found


def measure(vlm: VLM, *, images: int, tokens: int) -> dict[str, Any]:
    """Time both sides on open and closed questions."""
    pictures = make_images(images)
    opened, closed = make_asks(list(pictures), closed=False), make_asks(list(pictures), closed=True)
    longest = max(len(vlm.tokenizer.encode(option + TURN_END, add_special_tokens=False)) for option in OPTIONS)
    few = {name: pictures[name] for name in list(pictures)[:1]}
    for run in (ours_open, plain_open):
        run(vlm, opened[:2], few, tokens=2)  # first calls compile and allocate
    ours_closed(vlm, closed[: len(QUESTIONS)], few)
    ours = timed(lambda: ours_open(vlm, opened, pictures, tokens=tokens))
    theirs = timed(lambda: plain_open(vlm, opened, pictures, tokens=tokens))
    choices = timed(lambda: ours_closed(vlm, closed, pictures))
    scored = timed(lambda: plain_options(vlm, closed, pictures))
    bounded = timed(lambda: plain_open(vlm, closed, pictures, tokens=longest))
    apart = divergences(vlm, opened, pictures, ours.found, theirs.found, tokens=tokens)
    return {
        **_ratio("ratio", theirs, ours), **_ratio("closed_ratio", scored, choices),
        **_ratio("closed_ratio_generate", bounded, choices), **_ratio("closed_ratio_free_text", theirs, choices),
        "same_text": round(same_share(ours.found, theirs.found), 4),
        "same_choice": round(same_share(choices.found, scored.found), 4), "divergences": apart,
        "questions_per_second": round(len(opened) / ours.wall, 2),
        "closed_per_second": round(len(closed) / choices.wall, 2),
        "peer_per_second": round(len(opened) / theirs.wall, 2), "questions": len(opened), "tokens": tokens,
        "longest_option_tokens": longest, "options": len(OPTIONS),
    }  # fmt: skip


def _ratio(name: str, theirs: Timed, ours: Timed) -> dict[str, float]:
    return {name: round(theirs.wall / ours.wall, 2), f"cpu_{name}": round(theirs.cpu / ours.cpu, 2)}


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
    print("the trained model:")
    divergences(vlm, asks, pictures, ours, theirs, tokens=tokens)
    return round(same_share(ours, theirs), 4)


def met(result: dict[str, Any]) -> dict[str, bool]:
    """Say which targets are reached, with the same outputs and in bfloat16."""
    half = result["bfloat16"]
    return {
        "open": result["ratio"] >= OPEN_TARGET,
        "closed": result["closed_ratio"] >= CLOSED_TARGET,
        "same_text": result["same_text"] >= SAME_TARGET,
        "same_choice": result["same_choice"] >= SAME_TARGET,
        "bfloat16_open": half["ratio"] >= OPEN_TARGET,
        "bfloat16_closed": half["closed_ratio"] >= CLOSED_TARGET,
        "bfloat16_closed_generate": half["closed_ratio_generate"] >= CLOSED_TARGET,
        "bfloat16_same_text": half["same_text"] >= SAME_TARGET,
    }


def told(name: str, result: dict[str, Any]) -> str:
    """Return a line about one precision."""
    return (
        f"{name}: open questions {result['ratio']}x (target {OPEN_TARGET}x), same text {result['same_text']:.1%}; "
        f"closed {result['closed_ratio']}x the loop over options (target {CLOSED_TARGET}x), same choice "
        f"{result['same_choice']:.1%}; {result['closed_ratio_generate']}x model.generate bounded to "
        f"{result['longest_option_tokens']} tokens"
    )


def main() -> None:
    """Measure, print, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8, help="with eight questions each")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=32, help="the longest open answer")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    wanted = parser.parse_args()
    prepare_machine(wanted.threads)
    sizes = {"images": wanted.images, "tokens": wanted.tokens}
    with engine.inference():
        half = measure(make_vlm(layers=wanted.layers, dtype=torch.bfloat16), **sizes)
        half["same_text_trained"] = trained_share(**sizes)
    with torch.no_grad():  # without autocast
        exact = measure(make_vlm(layers=wanted.layers, dtype=torch.float32), **sizes)
    result = {
        "name": "evaluation_vs_peers", "peer": "model.generate, a question at a time", "target": OPEN_TARGET,
        "closed_target": CLOSED_TARGET, "precision": "float32, the same outputs", **exact, "bfloat16": half,
    }  # fmt: skip
    result["met"] = met(result)
    print(told("float32", exact))
    print(told("bfloat16", half))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
