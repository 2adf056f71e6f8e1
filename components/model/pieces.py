"""A sentencepiece model file as a tokenizer that plain transformers loads: same ids, no remote code.

InternLM2 and 3 publish `tokenizer.model` and a tokenizer class of their own (remote code). What that class does is
read the file, and give some ids of it another text: `added_tokens_decoder` of tokenizer_config.json names, for
example, id 92543 `<|im_start|>`, which the file calls `[UNUSED_TOKEN_146]`. transformers' own conversion would
append `<|im_start|>` behind the vocabulary instead, on a row of the embedding that was never trained. Source of
that rule: tokenization_internlm2_fast.py of internlm/internlm2_5-7b.

The file is a protocol buffer (sentencepiece_model.proto), so the sentencepiece package is not needed to read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.errors import CheckpointError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # piece types of sentencepiece_model.proto
BYTE_PAIRS = 2  # its model type
SPACE = "▁"
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")


def convert_tokenizer(folder: Path, target: Path) -> None:
    """Write a published folder's tokenizer into `target`, of a class that transformers holds itself.

    tokenizer.json is taken as it is where there is one, else tokenizer.model is read.

    Raises:
        CheckpointError: there is neither, or the model file is not one of byte pairs.
    """
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    tokenizer = _backend(folder, config)
    begins, ends = config.get("add_bos_token", True), config.get("add_eos_token", False)
    _frame(tokenizer, config, begins=begins, ends=ends)
    from transformers import PreTrainedTokenizerFast

    known = set(tokenizer.get_vocab())
    roles = {name: text for name in ROLES if (text := _text(config.get(name))) in known}
    also = {name: config[name] for name in ("chat_template", "model_max_length") if config.get(name)}
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, padding_side="left",
        **roles, **also,
    )  # fmt: skip
    made.save_pretrained(target)


def _backend(folder: Path, config: Mapping[str, Any]) -> Any:
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    if not (folder / "tokenizer.model").is_file():
        raise CheckpointError(
            "neither tokenizer.json nor tokenizer.model", where=str(folder), fix="download the whole repository"
        )
    return read_pieces(folder / "tokenizer.model", _added(config))


def _added(config: Mapping[str, Any]) -> dict[int, Any]:
    from tokenizers import AddedToken

    flags = ("lstrip", "rstrip", "single_word", "normalized", "special")
    return {
        int(number): AddedToken(row["content"], **{flag: row[flag] for flag in flags if flag in row})
        for number, row in config.get("added_tokens_decoder", {}).items()
    }


def _text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, Mapping) else token


def read_pieces(file: Path, added: Mapping[int, Any]) -> Any:
    """Return a `tokenizers.Tokenizer` with sentencepiece's ids; `added` names, by id, tokens found before pieces.

    Where a model adds a blank in front or strips them, that is done on each side of a token found first: as the
    published class does around added tokens. Around a model's own symbols sentencepiece does it once a text.

    Raises:
        CheckpointError: the file is not a sentencepiece model of byte pairs, or two ids have one text.
    """
    from google.protobuf.message import DecodeError
    from tokenizers import Tokenizer, models
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto()
    try:
        proto.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise CheckpointError("not a sentencepiece model", where=str(file)) from error
    if proto.trainer_spec.model_type != BYTE_PAIRS:
        raise CheckpointError("not a sentencepiece model of byte pairs", where=str(file))
    vocabulary = {_piece(proto, added, number): number for number in range(len(proto.pieces))}
    if len(vocabulary) < len(proto.pieces):
        raise CheckpointError("two ids have the same text", where=str(file))
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary, _merges(proto, added), unk_token=proto.pieces[proto.trainer_spec.unk_id].piece,
            fuse_unk=True, byte_fallback=bool(proto.trainer_spec.byte_fallback),
        )
    )  # fmt: skip
    tokenizer.normalizer, tokenizer.decoder = _normalizer(proto.normalizer_spec), _decoder(proto.normalizer_spec)
    tokenizer.add_special_tokens(_found_first(proto, added, special=True))
    tokenizer.add_tokens(_found_first(proto, added, special=False))
    return tokenizer


def _piece(proto: Any, added: Mapping[int, Any], number: int) -> str:
    return added[number].content if number in added else proto.pieces[number].piece


def _found_first(proto: Any, added: Mapping[int, Any], *, special: bool) -> list[Any]:
    """Return the tokens looked for before pieces are joined: control and added ones, or the model's symbols."""
    from tokenizers import AddedToken

    found = [token for _, token in sorted(added.items()) if token.special == special]
    wanted = CONTROL if special else USER_DEFINED
    return found + [
        AddedToken(piece.piece.replace(SPACE, " "), normalized=False, special=special)
        for number, piece in enumerate(proto.pieces)
        if piece.type == wanted and number not in added
    ]


def _merges(proto: Any, added: Mapping[int, Any]) -> list[tuple[str, str]]:
    """Return what joins two pieces to a third, the best scored first: sentencepiece joins by score, then place."""
    ordinary = {
        piece.piece: piece.score
        for number, piece in enumerate(proto.pieces)
        if piece.type == NORMAL and number not in added
    }
    joined = sorted(ordinary, key=lambda piece: -ordinary[piece])
    return [pair for piece in joined for pair in _halves(piece, ordinary)]


def _halves(piece: str, known: Mapping[str, float]) -> Iterable[tuple[str, str]]:
    pairs = ((piece[:place], piece[place:]) for place in range(1, len(piece)))
    return (pair for pair in pairs if pair[0] in known and pair[1] in known)


def _normalizer(spec: Any) -> Any:
    from tokenizers import Regex, normalizers

    steps: list[Any] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])


def _decoder(spec: Any) -> Any:
    from tokenizers import decoders

    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if spec.add_dummy_prefix else [])])


def _frame(tokenizer: Any, config: Mapping[str, Any], *, begins: bool, ends: bool) -> None:
    """Lay the marks around a text that is encoded with special tokens: the first is on, as published."""
    from tokenizers import processors

    first, last = _text(config.get("bos_token")), _text(config.get("eos_token"))
    marks = [first if begins else None, last if ends else None]
    known = {mark: tokenizer.token_to_id(mark) for mark in marks if mark is not None}
    if None in known.values() or not known:
        return
    one = [*([marks[0]] if marks[0] else []), "$A", *([marks[1]] if marks[1] else [])]
    two = [*([f"{marks[0]}:1"] if marks[0] else []), "$B:1", *([f"{marks[1]}:1"] if marks[1] else [])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=one, pair=[*one, *two], special_tokens=list(known.items())
    )
