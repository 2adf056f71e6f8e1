"""A published sentencepiece tokenizer, converted: the ids of sentencepiece, in plain transformers."""

import json
from pathlib import Path

import pytest

from components.errors import CheckpointError
from components.model.language import language_folder, load_tokenizer
from components.model.pieces import convert_tokenizer, read_pieces
from tests.fakes.models import tiny_language
from tests.fakes.pieces import CONFIG, HAND_MADE, write_model

TEXTS = [
    "", " ", "a cab", "  a  cab ", "abc\nabc\n\n", "héllo 肾脏 CT", "a▁b", "\ta\r\n", "x" * 40,
    "12.5 mm, left?!", "🫀 ab",
]  # fmt: skip
CORPUS = [
    "The liver is seen on this axial CT slice.", "A cab at the clinic: 12.5 mm, left kidney.",
    "Is there a lesion? No lesion is seen.", "肾脏 在 左侧", "def f(x):\n    return x + 1",
] * 20  # fmt: skip
SETTINGS = [
    {},
    {"add_dummy_prefix": False},
    {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"},
    {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
]


@pytest.fixture
def folder(tmp_path):
    """A repository as published: the model file, a class of its own, no tokenizer.json."""
    (tmp_path / "published").mkdir()
    write_model(tmp_path / "published" / "tokenizer.model")
    (tmp_path / "published" / "tokenizer_config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "published"


def loaded(folder: Path, target: Path):
    from transformers import AutoTokenizer

    convert_tokenizer(folder, target)
    return AutoTokenizer.from_pretrained(target, trust_remote_code=False, local_files_only=True)


def test_pieces_are_joined_by_score_and_marks_keep_their_rows(folder, tmp_path):
    tokenizer = loaded(folder, tmp_path / "out")
    ids = {piece: number for number, (piece, *_) in enumerate(HAND_MADE)}
    # "abc": bc scores above ab, so a|bc, and no piece joins them; the space is a piece of its own.
    assert tokenizer.encode("abc ab", add_special_tokens=False) == [ids[p] for p in ("a", "bc", "▁", "ab")]
    assert tokenizer.encode("ab") == [1, ids["ab"]]
    assert tokenizer.encode("é", add_special_tokens=False) == [ids["<0xC3>"], ids["<0xA9>"]]
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == ids["[UNUSED_1]"]
    assert tokenizer.encode("a<|im_end|>b", add_special_tokens=False) == [ids["a"], ids["[UNUSED_0]"], ids["b"]]
    assert len(tokenizer) == len(HAND_MADE)
    assert tokenizer.decode(tokenizer.encode("abc é ab"), skip_special_tokens=True) == "abc é ab"
    assert tokenizer.chat_template == CONFIG["chat_template"] and tokenizer.pad_token == "</s>"


def test_the_converted_folder_names_no_remote_code(folder, tmp_path):
    convert_tokenizer(folder, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert "auto_map" not in written and "InternLM2" not in json.dumps(written)
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_a_folder_with_a_tokenizer_json_keeps_its_ids(folder, tmp_path):
    convert_tokenizer(folder, tmp_path / "first")
    (tmp_path / "first" / "tokenizer_config.json").write_text(json.dumps(CONFIG))
    again = loaded(tmp_path / "first", tmp_path / "second")
    assert again.encode("abc ab") == loaded(folder, tmp_path / "third").encode("abc ab")


def test_a_folder_without_a_tokenizer_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="neither tokenizer.json nor tokenizer.model"):
        convert_tokenizer(tmp_path, tmp_path / "out")
    (tmp_path / "tokenizer.model").write_bytes(b"\xff\xff not a model")
    with pytest.raises(CheckpointError, match="not a sentencepiece model"):
        convert_tokenizer(tmp_path, tmp_path / "out")
    write_model(tmp_path / "tokenizer.model", model_type=1)
    with pytest.raises(CheckpointError, match="of byte pairs"):
        convert_tokenizer(tmp_path, tmp_path / "out")
    write_model(tmp_path / "tokenizer.model", rows=[*HAND_MADE, ("ab", -9.0, 1)])
    with pytest.raises(CheckpointError, match="two ids have the same text"):
        convert_tokenizer(tmp_path, tmp_path / "out")


def test_a_pretrained_folder_without_tokenizer_json_is_read_from_its_pieces(folder, tmp_path):
    (folder / "config.json").write_text(json.dumps({"model_type": "internlm3"}))
    language = tiny_language(source="pretrained", family="internlm3", path=str(folder))
    tokenizer = load_tokenizer(language, tmp_path, cache=tmp_path / "cache")
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == [p for p, *_ in HAND_MADE].index("[UNUSED_1]")
    assert tokenizer.convert_tokens_to_ids("<image>") == len(HAND_MADE)
    assert language_folder(language, tmp_path, cache=tmp_path / "cache") == str(
        folder
    )  # weights lie where they lay


@pytest.mark.parametrize("changes", SETTINGS, ids=lambda row: "-".join(row) or "default")
def test_ids_are_those_of_sentencepiece(changes, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_prefix=str(tmp_path / "tokenizer"), model_type="bpe",
        vocab_size=420, byte_fallback=True, user_defined_symbols=["[UNUSED_0]", "[UNUSED_1]"],
        minloglevel=2, **changes,
    )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    ours = read_pieces(tmp_path / "tokenizer.model", {})
    for text in [*CORPUS[:5], *TEXTS]:
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text), text
        assert ours.decode(theirs.encode(text)) == theirs.decode(theirs.encode(text)), text
    if "normalization_rule_name" in changes and not changes.get("remove_extra_whitespaces"):  # text as it is
        text = "left[UNUSED_1] kidney[UNUSED_0]"
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text)
