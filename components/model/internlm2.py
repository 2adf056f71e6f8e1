"""InternLM2 and 2.5 as Llama: their published weights, renamed and with the joint projection taken apart.

transformers has no InternLM2, and the published code is remote code, which this project never runs. The network
is Llama's (RMSNorm, rotary positions over halves, SwiGLU, grouped queries); only the layout differs. `wqkv` joins,
for each key-value head, its query heads, then its key, then its value. Layout: the tensors of
internlm/internlm2_5-7b and the grouping in its modeling_internlm2.py.

H heads, K key-value heads, d head size, D hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from components.errors import CheckpointError
from components.model.pieces import convert_tokenizer
from components.tracking.commit import folder_aside

RENAMED = {
    "model.tok_embeddings.weight": "model.embed_tokens.weight",
    "model.norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
RENAMED_IN_LAYER = {
    "attention.wo.weight": "self_attn.o_proj.weight",
    "feed_forward.w1.weight": "mlp.gate_proj.weight",
    "feed_forward.w3.weight": "mlp.up_proj.weight",
    "feed_forward.w2.weight": "mlp.down_proj.weight",
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}


def is_internlm2(folder: Path) -> bool:
    """Say whether a folder on this disk holds InternLM2's layout."""
    config = folder / "config.json"
    return config.is_file() and json.loads(config.read_text()).get("model_type") == "internlm2"


def llama_config(config: Mapping[str, Any]) -> Any:
    """Return the Llama config of an InternLM2 config."""
    from transformers import LlamaConfig

    if config.get("bias"):
        raise CheckpointError("InternLM2 with biases has no Llama layout", where="config.json")
    same = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "vocab_size", "rms_norm_eps", "max_position_embeddings", "tie_word_embeddings", "bos_token_id",
        "eos_token_id", "pad_token_id",
    )  # fmt: skip
    values = {name: config[name] for name in same if name in config}
    rope = {"rope_type": "default", "rope_theta": float(config.get("rope_theta", 10000.0))}
    if config.get("rope_scaling"):
        scaling = dict(config["rope_scaling"])
        rope |= {"rope_type": scaling.pop("type", "default"), **scaling}
    return LlamaConfig(**values, rope_parameters=rope)


def split_wqkv(wqkv: torch.Tensor, *, heads: int, key_value_heads: int) -> dict[str, torch.Tensor]:
    """Take ((H + 2K) d, D) apart into query (H d, D), key and value (K d, D)."""
    size, width = wqkv.shape[0] // (heads + 2 * key_value_heads), wqkv.shape[1]
    grouped = wqkv.view(key_value_heads, heads // key_value_heads + 2, size, width)
    return {
        "q_proj": grouped[:, :-2].reshape(-1, width),
        "k_proj": grouped[:, -2].reshape(-1, width),
        "v_proj": grouped[:, -1].reshape(-1, width),
    }


def llama_weights(
    weights: Mapping[str, torch.Tensor], *, heads: int, key_value_heads: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield Llama's (name, tensor) for InternLM2's; CheckpointError for a tensor that has no place."""
    for name, tensor in weights.items():
        if name in RENAMED:
            yield RENAMED[name], tensor
            continue
        stem, _, rest = name.removeprefix("model.layers.").partition(".")
        if rest == "attention.wqkv.weight":
            parts = split_wqkv(tensor, heads=heads, key_value_heads=key_value_heads)
            for part, value in parts.items():
                yield f"model.layers.{stem}.self_attn.{part}.weight", value.contiguous()
        elif rest in RENAMED_IN_LAYER:
            yield f"model.layers.{stem}.{RENAMED_IN_LAYER[rest]}", tensor
        else:
            raise CheckpointError(f"no place in Llama for {name!r}", where="InternLM2 weights")


def convert_internlm2(folder: Path, target: Path) -> None:
    """Write an InternLM2 folder (safetensors) as a Llama folder, shard by shard, its tokenizer beside it.

    Raises:
        CheckpointError: there are no safetensors or no tokenizer, or a tensor has no place in Llama.
    """
    from safetensors.torch import load_file, save_file

    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise CheckpointError("no safetensors to convert", where=str(folder))
    config = llama_config(json.loads((folder / "config.json").read_text()))
    with folder_aside(target) as aside:
        places: dict[str, str] = {}
        for number, shard in enumerate(shards, start=1):
            name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            heads, key_value_heads = config.num_attention_heads, config.num_key_value_heads
            tensors = dict(llama_weights(load_file(shard), heads=heads, key_value_heads=key_value_heads))
            save_file(tensors, aside / name, metadata={"format": "pt"})
            places |= dict.fromkeys(tensors, name)
        index = {"metadata": {}, "weight_map": places}
        (aside / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True))
        config.architectures = ["LlamaForCausalLM"]
        config.save_pretrained(aside)
        convert_tokenizer(folder, aside)
