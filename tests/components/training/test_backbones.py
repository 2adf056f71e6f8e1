"""Every published tower with every language model, from local folders: a step, a pack, a plain checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.errors import ConfigError
from components.model.language import language_config
from components.model.packing import make_segments, pack_segments
from components.model.vision import num_image_tokens
from components.model.vlm import compose_vlm, make_processor, save_vlm
from components.training.datamodule import Collator
from components.training.module import StageModule, pack_losses
from tests.components.training.conftest import conversations
from tests.components.training.test_module import stage
from tests.fakes.models import tiny_model
from tests.fakes.towers import pretrained_language, pretrained_vision, write_language, write_tower

NOWHERE = Path("unused")
TOWERS = ["clip", "siglip2", "dinov2"]
# SmolLM 1 and 2 are Llama with a shared head; a converted InternLM2.5 is Llama with its own.
LANGUAGES = {
    "llama": ("llama", False), "smollm2": ("llama", True), "qwen2": ("qwen2", True), "qwen3": ("qwen3", False),
    "internlm3": ("internlm3", False), "smollm3": ("smollm3", True),
}  # fmt: skip
QUESTION = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is there a kidney?"}]}]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    towers = {name: write_tower(name, tmp_path_factory.mktemp(name)) for name in TOWERS}
    languages = {
        name: write_language(family, tmp_path_factory.mktemp(name), tied=tied)
        for name, (family, tied) in LANGUAGES.items()
    }
    return {**towers, **languages}


def composed(tower: str, language: str, folders, **changes):
    family, tied = LANGUAGES[language]
    return tiny_model(
        vision=pretrained_vision(tower, folders[tower], **changes),
        language=pretrained_language(family, folders[language], tied=tied),
    )


def laid_out(rows, images) -> tuple[list, list]:
    """Return packs of each conversation alone, and one pack of all, the questions of an image behind it once."""
    alone, together = [], []
    for image in images:
        named = [(f"{image}-{number}", row) for number, row in enumerate(rows)]
        alone += [
            pack
            for row in named
            for pack in pack_segments(make_segments([row], [image], max_length=400), max_length=400)
        ]
        together += list(make_segments(named, [image], max_length=900))
    return alone, list(pack_segments(together, max_length=1800))


def made(tower: str, language: str, folders):
    model = composed(tower, language, folders)
    processor, vlm = make_processor(model, NOWHERE), compose_vlm(model, NOWHERE, seed=3)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    return processor, vlm, pixels, conversations(processor, image_tokens=num_image_tokens(model.vision))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("tower", TOWERS)
def test_a_pretrained_pair_learns_and_a_packs_losses_are_those_of_its_conversations(tower, language, folders):
    processor, vlm, pixels, rows = made(tower, language, folders)
    collate = Collator(pixels, processor.image_processor, pad_id=0)
    row = stage(trains=("projector", "vision", "language"))
    module = StageModule(vlm, row, name="t", steps=1, log=lambda *_: None)

    def losses(packs):
        batch = collate([(str(number), pack) for number, pack in enumerate(packs)])
        return pack_losses(vlm, batch, image_features=module.image_features(batch))

    alone, together = laid_out(rows, range(2))
    assert len(alone) == 8 and len(together) == 1
    before = losses(together)
    before.mean().backward()
    torch.optim.SGD([p for p in vlm.parameters() if p.requires_grad], lr=0.05).step()
    with torch.no_grad():
        after = losses(together)
        assert after.mean() < before.mean()
        assert after.tolist() == pytest.approx(losses(alone).tolist(), abs=1e-5)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("tower", TOWERS)
def test_a_pretrained_pair_holds_its_weights_and_ends_plain(tower, language, folders, tmp_path):
    from transformers import AutoModelForCausalLM, AutoProcessor, LlavaForConditionalGeneration

    processor, vlm, pixels, _ = made(tower, language, folders)
    plain = AutoModelForCausalLM.from_pretrained(folders[language], dtype=torch.float32).eval()
    ids = torch.arange(3, 40).unsqueeze(0)
    with torch.no_grad():
        theirs = plain(ids).logits
        assert torch.allclose(vlm.eval()(input_ids=ids).logits[..., : theirs.shape[-1]], theirs, atol=1e-5)
    save_vlm(vlm, processor, tmp_path)
    again = LlavaForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32, use_safetensors=True)
    loaded = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    text = loaded.apply_chat_template(QUESTION, add_generation_prompt=True)
    inputs = loaded(text=text, images=Image.fromarray(pixels[0]), return_tensors="pt")
    with torch.no_grad():
        assert (vlm(**inputs).logits - again.eval()(**inputs).logits).abs().max() < 1e-4


def test_the_chat_template_writes_what_training_encoded(folders):
    from components.model.chat import encode_prompt

    model = composed("clip", "qwen2", folders)
    processor = make_processor(model, NOWHERE)
    text = processor.apply_chat_template(QUESTION, add_generation_prompt=True)
    ids = processor(text=text, images=Image.new("RGB", (32, 32)), return_tensors="pt")["input_ids"][0].tolist()
    assert ids == encode_prompt(processor.tokenizer, "<image>\nIs there a kidney?", image_tokens=16)


@pytest.mark.parametrize("changes", [{"pixel_shuffle": 2}, {"max_tiles": 4}, {"pixel_shuffle": 2, "max_tiles": 4}])
@pytest.mark.parametrize("tower", ["clip", "siglip", "siglip2", "dinov2"])
def test_joined_patches_and_cut_pictures_go_with_every_tower(tower, changes, folders, tmp_path):
    from transformers import AutoModelForImageTextToText

    from components.model.vlm import load_vlm

    written = {**folders, "siglip": write_tower("siglip", tmp_path / "siglip")}
    model = composed(tower, "smollm2", written, **changes)
    vlm, processor = compose_vlm(model, NOWHERE, seed=1), make_processor(model, NOWHERE)
    save_vlm(vlm, processor, tmp_path / "saved")
    assert type(AutoModelForImageTextToText.from_pretrained(tmp_path / "saved")) is type(vlm)
    loaded = load_vlm(tmp_path / "saved")
    picture = Image.effect_noise((96, 48), 60).convert("RGB")
    [features] = loaded.encode_each([picture])
    squares = 3 if "max_tiles" in changes else 1  # two by one and the whole
    tokens = 16 // changes.get("pixel_shuffle", 1) ** 2
    assert features.shape == (squares * tokens, 32)
    prompt = loaded.prompt_ids("What?", tokens=[len(features)])
    assert prompt.count(loaded.model.config.image_token_index) == squares * tokens
    assert isinstance(loaded.answer(picture, "What?", max_new_tokens=2), str)


def test_a_language_model_of_remote_code_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "orion", "auto_map": {"AutoConfig": "configuration_orion.OrionConfig"}}'
    )
    with pytest.raises(ConfigError, match="remote code is refused") as error:
        language_config(pretrained_language("llama", tmp_path, tied=False), NOWHERE, vocabulary=260)
    assert error.value.where == "model.language.path"


def test_a_head_that_the_settings_do_not_share_is_refused(folders):
    model = composed("clip", "llama", folders)
    wrong = model.model_copy(update={"language": pretrained_language("llama", folders["llama"], tied=True)})
    with pytest.raises(ConfigError, match="tie_embeddings True, and the weights say False"):
        compose_vlm(wrong, NOWHERE, seed=0)
