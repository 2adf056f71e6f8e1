"""The language model and its tokenizer: from a pinned GGUF file, a pretrained folder, or fresh.

A GGUF file is converted once to safetensors under `var/models/<its sha256>`; every later load is from there.
A fresh model reads bytes: its tokenizer has 256 byte tokens and the chat marks, and needs no file at all.
It refuses remote code, pickled weights, and a file whose hash is not the pinned one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.errors import ChecksumMismatch, ConfigError, DatasetMissing
from components.model.internlm2 import convert_internlm2, is_internlm2
from components.model.pieces import convert_tokenizer
from components.model.published import is_offline, read_config
from components.settings import LanguageModel
from components.tracking.commit import folder_aside
from components.tracking.digest import digest_file, digest_json

CACHE = Path("var/models")
IMAGE_TOKEN = "<image>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"


def language_folder(language: LanguageModel, packages_root: Path, *, cache: Path = CACHE) -> str:
    """Return the folder or hub name that transformers loads the language model from.

    Raises:
        DatasetMissing: the GGUF file is not on this disk.
        ChecksumMismatch: it is, but it is not the pinned file.
        ConfigError: a fresh model has no folder.
    """
    if language.source == "random":
        raise ConfigError("a random language model has no folder", where="model.language", fix="gmai configure")
    if language.source == "pretrained":
        return _pretrained_folder(Path(language.path), cache)
    file = packages_root / language.path
    if not file.is_file():
        raise DatasetMissing("the language model's file is missing", where=str(file), fix="make data-packages")
    target = cache / language.sha256[:16]
    if not (target / "config.json").is_file():
        _verify(file, language.sha256)
        _convert_gguf(file, target)
    return str(target)


def _pretrained_folder(folder: Path, cache: Path) -> str:
    """Return a folder or hub name as it is; InternLM2's layout is converted once, known by its files' hashes."""
    if not is_internlm2(folder):
        return str(folder)
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors")), *sorted(folder.glob("tokenizer*"))]
    target = cache / digest_json([digest_file(file) for file in files])[:16]
    if not (target / "config.json").is_file():
        convert_internlm2(folder, target)
    return str(target)


def _verify(file: Path, pinned: str) -> None:
    found = digest_file(file)
    if found != pinned:
        raise ChecksumMismatch(
            f"sha256 {found} is not the pinned {pinned}", where=str(file), fix="make data-packages"
        )


def _convert_gguf(file: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    names: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    model: Any = AutoModelForCausalLM.from_pretrained(str(file.parent), dtype=torch.float32, **names)
    model.hf_quantizer = None  # transformers refuses to save what it believes is still quantised
    model.config.__dict__.pop("quantization_config", None)
    with folder_aside(target) as aside:
        model.save_pretrained(aside)
        tokenizer: Any = AutoTokenizer.from_pretrained(str(file.parent), **names)
        tokenizer.save_pretrained(aside)


def make_byte_tokenizer() -> Any:
    """Build a tokenizer of 256 bytes and the chat marks: any text in any language, no file, no download."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = ["<|endoftext|>", TURN_START, TURN_END]
    vocabulary = {token: index for index, token in enumerate(marks + alphabet)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=TURN_END, pad_token="<|endoftext|>", bos_token=TURN_START
    )


def tokenizer_folder(folder: Path, *, cache: Path = CACHE) -> str:
    """Return a model's folder or hub name; one that holds a sentencepiece file alone is converted once."""
    file = folder / "tokenizer.model"
    if (folder / "tokenizer.json").is_file() or not file.is_file():
        return str(folder)
    files = [file for file in (file, folder / "tokenizer_config.json") if file.is_file()]
    target = cache / f"tokenizer-{digest_json([digest_file(file) for file in files])[:16]}"
    if not (target / "tokenizer.json").is_file():
        with folder_aside(target) as aside:
            convert_tokenizer(folder, aside)
    return str(target)


def _pretrained_tokenizer(language: LanguageModel, packages_root: Path, *, cache: Path) -> Any:
    from transformers import AutoTokenizer

    folder = Path(language_folder(language, packages_root, cache=cache))
    return AutoTokenizer.from_pretrained(
        tokenizer_folder(folder, cache=cache),
        revision=language.revision or "main",
        local_files_only=is_offline(),
        trust_remote_code=False,
    )


def load_tokenizer(language: LanguageModel, packages_root: Path, *, cache: Path = CACHE) -> Any:
    """Load the tokenizer and make sure it knows `<image>` and the marks of a turn as one token each."""
    from tokenizers import AddedToken

    tokenizer = (
        make_byte_tokenizer()
        if language.source == "random"
        else _pretrained_tokenizer(language, packages_root, cache=cache)
    )
    known = tokenizer.get_vocab()
    missing = [mark for mark in (TURN_START, TURN_END) if mark not in known]
    added = [AddedToken(mark, special=True, normalized=False) for mark in (*missing, IMAGE_TOKEN)]
    tokenizer.add_tokens(added, special_tokens=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def language_config(language: LanguageModel, packages_root: Path, *, vocabulary: int) -> Any:
    """Return the language model's transformers config (from its folder, or from the settings' sizes)."""
    if language.source == "random" or not language.path:
        return _config_from_sizes(language, vocabulary=vocabulary)
    folder = language_folder(language, packages_root)
    return read_config(folder, where="model.language.path", revision=language.revision or "main")


def _config_from_sizes(language: LanguageModel, *, vocabulary: int) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(
        language.family,
        hidden_size=language.hidden_size,
        num_hidden_layers=language.layers,
        num_attention_heads=language.heads,
        num_key_value_heads=language.key_value_heads,
        intermediate_size=language.intermediate_size,
        vocab_size=language.vocabulary or vocabulary,
        tie_word_embeddings=language.tie_embeddings,
        max_position_embeddings=32768,
        pad_token_id=None,  # the tokenizer has one; a family may name a row that a small vocabulary lacks
        head_dim=language.hidden_size // max(language.heads, 1),
    )


def load_language_weights(model: Any, language: LanguageModel, packages_root: Path) -> None:
    """Copy pretrained weights into a LLaVA's language model and head; does nothing for a fresh one.

    Rows beyond the pretrained vocabulary (the `<image>` token) keep their fresh values.

    Raises:
        ConfigError: the weights have an output head of their own and the settings share it, or the reverse.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if language.source == "random":
        return
    folder = language_folder(language, packages_root)
    options: dict[str, Any] = {"local_files_only": is_offline(), "trust_remote_code": False}
    options |= {"revision": language.revision or "main", "use_safetensors": True}
    pretrained = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
    if pretrained.config.tie_word_embeddings != language.tie_embeddings:
        own = pretrained.config.tie_word_embeddings
        raise ConfigError(
            f"tie_embeddings {language.tie_embeddings}, and the weights say {own}",
            where="model.language.tie_embeddings",
            fix=f"model.language.tie_embeddings={str(own).lower()}",
        )
    rows = pretrained.get_input_embeddings().num_embeddings
    if model.get_input_embeddings().num_embeddings != rows:
        pretrained.resize_token_embeddings(model.get_input_embeddings().num_embeddings, mean_resizing=False)
    model.model.language_model.load_state_dict(pretrained.model.state_dict())
    if not language.tie_embeddings:
        model.lm_head.load_state_dict(pretrained.lm_head.state_dict())
