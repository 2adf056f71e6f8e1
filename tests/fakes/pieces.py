"""A sentencepiece model file made by hand, and the tokenizer_config.json that InternLM2.5 publishes beside it."""

from __future__ import annotations

from pathlib import Path

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
# (piece, score, type); ids are places. Chat marks lie under other names, as in the published file.
HAND_MADE = [
    ("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL),
    *((f"<0x{number:02X}>", 0.0, BYTE) for number in range(256)),
    ("bc", -1.0, NORMAL), ("ab", -2.0, NORMAL), ("▁a", -3.0, NORMAL), ("▁", -4.0, NORMAL), ("a", -5.0, NORMAL),
    ("b", -6.0, NORMAL), ("c", -7.0, NORMAL), ("[UNUSED_0]", 0.0, USER_DEFINED), ("[UNUSED_1]", 0.0, USER_DEFINED),
]  # fmt: skip
PLACES = {piece: number for number, (piece, *_) in enumerate(HAND_MADE)}


def _mark(content: str) -> dict[str, object]:
    return {
        "content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
        "special": True,
    }  # fmt: skip


CONFIG = {
    "added_tokens_decoder": {
        "0": _mark("<unk>"), "1": _mark("<s>"), "2": _mark("</s>"),
        str(PLACES["[UNUSED_0]"]): _mark("<|im_end|>"), str(PLACES["[UNUSED_1]"]): _mark("<|im_start|>"),
    },
    "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
    "auto_map": {
        "AutoTokenizer": [
            "tokenization_internlm2.InternLM2Tokenizer", "tokenization_internlm2_fast.InternLM2TokenizerFast",
        ]
    },
    "bos_token": "<s>", "chat_template": "{{ bos_token }}{{ messages[0]['content'] }}",
    "clean_up_tokenization_spaces": False, "decode_with_prefix_space": False, "eos_token": "</s>",
    "pad_token": "</s>", "sp_model_kwargs": None, "tokenizer_class": "InternLM2Tokenizer", "unk_token": "<unk>",
}  # fmt: skip


def write_model(file: Path, *, rows=HAND_MADE, model_type: int = 2) -> None:
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto()
    for piece, score, kind in rows:
        proto.pieces.add(piece=piece, score=score, type=kind)
    proto.trainer_spec.model_type, proto.trainer_spec.byte_fallback = model_type, True
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    file.write_bytes(proto.SerializeToString())
