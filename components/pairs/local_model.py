"""A transformers language model in a folder on this disk: text in, text out, nothing leaves the process.

It sees the annotation alone, not the image. Only safetensors weights and code of the transformers library itself
are loaded, never code from the folder.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from components.errors import ConfigError
from components.pairs.endpoint import Reply
from components.pairs.prompts import Prompt
from components.tracking.digest import digest_tree

DIGEST_DIGITS = 12


class LocalModel:
    """Answers one prompt at a time; greedy at temperature 0, else sampled under the seed."""

    is_third_party = False

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if not (folder / "config.json").is_file():
            raise ConfigError("no transformers model here", where=str(folder), fix="set pair.language_model.model")
        self.name = f"{folder.name}@{digest_tree(folder)[:DIGEST_DIGITS]}"
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        self._model.eval()
        self._one_at_a_time = threading.Lock()

    def complete(self, prompt: Prompt, *, seed: int) -> Reply:
        """Generate the reply."""
        import torch

        words = self._words(prompt)
        asked = self._tokenizer(words, return_tensors="pt")
        sampling = {"do_sample": True, "temperature": prompt.temperature} if prompt.temperature else {}
        with self._one_at_a_time, torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            ids = self._model.generate(
                input_ids=asked["input_ids"], attention_mask=asked["attention_mask"],
                max_new_tokens=prompt.max_tokens, **{"do_sample": False, **sampling},
            )[0]  # fmt: skip
        said = ids[asked["input_ids"].shape[1] :]
        text = self._tokenizer.decode(said, skip_special_tokens=True)
        return Reply(text, int(asked["input_ids"].shape[1]), len(said))

    def _words(self, prompt: Prompt) -> str:
        """Put the prompt into the model's own chat form, or plain lines where it has none."""
        turns = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.text}]
        if getattr(self._tokenizer, "chat_template", None):
            return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        return f"{prompt.system}\n\n{prompt.text}\n\n"
