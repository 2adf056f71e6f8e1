"""A random tiny InternLM2, run by a reference written here from its grouping, against the converted Llama."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from components.errors import CheckpointError
from components.model.chat import encode_prompt
from components.model.internlm2 import convert_internlm2, is_internlm2, llama_weights, split_wqkv
from components.model.language import language_folder, load_tokenizer
from components.model.vlm import compose_vlm, make_processor, save_vlm
from tests.fakes.models import tiny_language, tiny_model
from tests.fakes.pieces import CONFIG as PUBLISHED
from tests.fakes.pieces import PLACES, write_model

CONFIG = {
    "model_type": "internlm2", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 128, "rope_theta": 1e6, "bias": False, "tie_word_embeddings": False,
}  # fmt: skip
HEADS, GROUPS, SIZE = 4, 2, 8


def random_weights(vocabulary=50):
    generator = torch.Generator().manual_seed(3)

    def matrix(*shape):
        return torch.randn(*shape, generator=generator) * 0.2

    weights = {"model.tok_embeddings.weight": matrix(vocabulary, 32), "model.norm.weight": 1 + matrix(32),
               "output.weight": matrix(vocabulary, 32)}  # fmt: skip
    for layer in range(2):
        stem = f"model.layers.{layer}."
        weights |= {
            stem + "attention.wqkv.weight": matrix((HEADS + 2 * GROUPS) * SIZE, 32),
            stem + "attention.wo.weight": matrix(32, HEADS * SIZE),
            stem + "feed_forward.w1.weight": matrix(48, 32), stem + "feed_forward.w3.weight": matrix(48, 32),
            stem + "feed_forward.w2.weight": matrix(32, 48),
            stem + "attention_norm.weight": 1 + matrix(32), stem + "ffn_norm.weight": 1 + matrix(32),
        }  # fmt: skip
    return weights


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "internlm2"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(CONFIG))
    weights = random_weights()
    half = len(weights) // 2
    for number, names in enumerate((list(weights)[:half], list(weights)[half:])):
        save_file({name: weights[name] for name in names}, source / f"part-{number}.safetensors")
    write_model(source / "tokenizer.model")
    (source / "tokenizer_config.json").write_text(json.dumps(PUBLISHED))
    return source


def norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight


def rotate(x):
    """Rotary positions over halves, theta a million: (tokens, d)."""
    frequencies = 1e6 ** (-torch.arange(0, SIZE, 2) / SIZE)
    angles = torch.arange(len(x)).unsqueeze(1) * frequencies
    cosine, sine = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
    first, second = x[:, : SIZE // 2], x[:, SIZE // 2 :]
    return x * cosine + torch.cat([-second, first], dim=1) * sine


def attention(x, wqkv, wo):
    """Head by head: rows of `wqkv` come in groups of (two queries, one key, one value)."""
    rows = wqkv.split(SIZE)
    mask = torch.full((len(x), len(x)), float("-inf")).triu(1)
    heads = []
    for group in range(GROUPS):
        first, second, key, value = rows[group * 4 : group * 4 + 4]
        for query in (first, second):
            scores = rotate(x @ query.T) @ rotate(x @ key.T).T / SIZE**0.5
            heads.append((scores + mask).softmax(-1) @ (x @ value.T))
    return torch.cat(heads, dim=1) @ wo.T


def reference_logits(weights, ids):
    x = weights["model.tok_embeddings.weight"][ids]
    for layer in range(2):
        part = {name.removeprefix(f"model.layers.{layer}."): value for name, value in weights.items()}
        x = x + attention(
            norm(x, part["attention_norm.weight"]), part["attention.wqkv.weight"], part["attention.wo.weight"]
        )
        inner = norm(x, part["ffn_norm.weight"])
        gate = functional.silu(inner @ part["feed_forward.w1.weight"].T) * (
            inner @ part["feed_forward.w3.weight"].T
        )
        x = x + gate @ part["feed_forward.w2.weight"].T
    return norm(x, weights["model.norm.weight"]) @ weights["output.weight"].T


def test_the_converted_model_has_the_references_logits(folder, tmp_path):
    from transformers import AutoModelForCausalLM

    convert_internlm2(folder, tmp_path / "llama")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "llama", dtype=torch.float32, use_safetensors=True)
    ids = torch.tensor([3, 17, 42, 8, 8, 1])
    with torch.no_grad():
        logits = model(input_ids=ids.unsqueeze(0)).logits[0]
    assert torch.allclose(logits, reference_logits(random_weights(), ids), atol=1e-4)


def test_a_pretrained_folder_in_this_layout_is_converted_once(folder, tmp_path):
    assert is_internlm2(folder) and not is_internlm2(tmp_path)
    language = tiny_language(source="pretrained", path=str(folder))
    target = language_folder(language, tmp_path, cache=tmp_path / "cache")
    assert (
        json.loads((tmp_path / "cache").joinpath(target.split("/")[-1], "config.json").read_text())["model_type"]
        == "llama"
    )
    assert language_folder(language, tmp_path, cache=tmp_path / "cache") == target


def test_the_converted_folder_holds_its_tokenizer_and_another_tokenizer_is_converted_again(folder, tmp_path):
    language = tiny_language(source="pretrained", path=str(folder))
    tokenizer = load_tokenizer(language, tmp_path, cache=tmp_path / "cache")
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == PLACES["[UNUSED_1]"]
    (folder / "tokenizer_config.json").write_text("{}")
    again = load_tokenizer(language, tmp_path, cache=tmp_path / "cache")
    assert again.convert_tokens_to_ids("[UNUSED_1]") == PLACES["[UNUSED_1]"]


def test_a_model_on_the_published_folder_ends_in_plain_transformers_with_the_published_rows(tmp_path, monkeypatch):
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    published, vocabulary = tmp_path / "published", len(PLACES)
    published.mkdir()
    (published / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": vocabulary}))
    save_file(random_weights(vocabulary), published / "model.safetensors")
    write_model(published / "tokenizer.model")
    (published / "tokenizer_config.json").write_text(json.dumps(PUBLISHED))
    monkeypatch.chdir(tmp_path)
    language = tiny_language(source="pretrained", path=str(published), tie_embeddings=False)
    model = tiny_model(language=language).model_copy(update={"chat_template": "internlm2"})
    vlm, processor = compose_vlm(model, tmp_path, seed=0).eval(), make_processor(model, tmp_path)
    assert len(processor.tokenizer) == vocabulary + 1 == vlm.get_input_embeddings().num_embeddings  # `<image>`
    save_vlm(vlm, processor, tmp_path / "saved")
    loaded = AutoProcessor.from_pretrained(tmp_path / "saved", backend="pil", trust_remote_code=False)
    again = LlavaForConditionalGeneration.from_pretrained(tmp_path / "saved", dtype=torch.float32).eval()
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "abc"}]}]
    text = loaded.apply_chat_template(turn, add_generation_prompt=True)
    inputs = loaded(text=text, images=Image.new("RGB", (32, 32)), return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    assert ids == encode_prompt(processor.tokenizer, "<image>\nabc", image_tokens=4) and ids[0] == PLACES["<s>"]
    assert ids.count(PLACES["[UNUSED_1]"]) == 2 and ids.count(PLACES["[UNUSED_0]"]) == 1  # im_start, im_end
    with torch.no_grad():
        assert (vlm(**inputs).logits - again(**inputs).logits).abs().max() < 1e-4


def test_the_joint_projection_comes_apart_by_group():
    rows = torch.arange((HEADS + 2 * GROUPS) * SIZE).unsqueeze(1).float()
    parts = split_wqkv(rows, heads=HEADS, key_value_heads=GROUPS)
    assert parts["k_proj"][:, 0].tolist() == [*range(16, 24), *range(48, 56)]
    assert parts["v_proj"][:, 0].tolist() == [*range(24, 32), *range(56, 64)]
    assert parts["q_proj"][:, 0].tolist() == [*range(16), *range(32, 48)]


def test_a_tensor_without_a_place_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="rotary_extra"):
        list(llama_weights({"model.layers.0.rotary_extra": torch.ones(1)}, heads=4, key_value_heads=2))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(CheckpointError, match="no safetensors"):
        convert_internlm2(tmp_path, tmp_path / "out")
