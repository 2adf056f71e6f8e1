"""Attention over packs by kernels that skip what is not seen, for CUDA devices: FlexAttention, or varlen.

The dense path hands the fused kernel a bias (B, 1, L, L): exact, but it computes every pair of tokens. These skip:

- "flex": torch's FlexAttention. What a token sees is a function of its segment and branch: the questions of one
  image share its encoding and do not see each other. Blocks of 128 x 128 in which nothing is seen are skipped.
- "varlen": flash-attn over the lengths of documents laid end to end. A document is a run of tokens that see all
  before them in it, so it serves packs whose segments hold one conversation each, and refuses others.

Neither was run on a GPU. Losses and gradients of "flex" were compared with the dense path on a CPU, uncompiled:
torch compiles its forward pass there and refuses a backward pass, a refusal that the test takes away. Those of
"varlen" were compared on a CPU with a plain function in flash-attn's place, behind transformers' own call of it.

B batch, L tokens, D hidden size.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from components.errors import ConfigError
from components.model.packing import PREFIX_BRANCH

FLEX, VARLEN = "flex", "varlen"
KERNELS = {FLEX: "flex_attention", VARLEN: "flash_attention_2"}  # transformers' names
WHERE = "training.speed.attention"


def check_kernel(how: str, *, accelerator: str, precision: str) -> None:
    """Refuse a choice of attention that this machine cannot train with.

    Raises:
        ConfigError: the kernel has no backward pass here, is not installed, or not in this precision.
    """
    if how not in KERNELS:
        return
    if accelerator == "cpu" or not torch.cuda.is_available():
        raise ConfigError(
            f"attention {how!r} trains on a CUDA device alone, and this run has none",
            where=WHERE,
            fix=f"{WHERE}=fused",
        )
    if how == VARLEN and importlib.util.find_spec("flash_attn") is None:
        raise ConfigError(
            "attention 'varlen' needs flash-attn, which is not installed", where=WHERE,
            fix=f"pip install flash-attn --no-build-isolation, or {WHERE}={FLEX}",
        )  # fmt: skip
    if how == VARLEN and precision == "32-true":
        raise ConfigError(
            "flash-attn computes in half precision alone", where=WHERE, fix="training.precision=bf16-mixed"
        )


def attend_in_blocks(vlm: Any, how: str) -> None:
    """Let the language model attend by one of these kernels; any other `how` leaves it."""
    if how in KERNELS:
        vlm.model.language_model.set_attn_implementation(KERNELS[how])


def attend_densely(vlm: Any) -> None:
    """Take such a kernel off again: what answers after training computes outside the precision it needs."""
    if vlm.model.language_model.config._attn_implementation in KERNELS.values():
        vlm.model.language_model.set_attn_implementation("sdpa")


def hidden_states(
    language_model: Any,
    embeddings: torch.Tensor,
    *,
    positions: torch.Tensor,
    visible: torch.Tensor | None,
    places: tuple[torch.Tensor, torch.Tensor] | None,
) -> torch.Tensor:
    """Run a language model over packs: (B, L, D), from embeddings (B, L, D) and positions (B, L).

    `visible` (B, 1, L, L) says what each token sees, for kernels that take a mask; `places` are each token's
    segment and branch, (B, L) each, for those of this module.

    Raises:
        ConfigError: the packs share prefixes, and the kernel knows documents alone.
    """
    kernel = language_model.config._attn_implementation
    if kernel not in KERNELS.values():
        assert visible is not None
        return _run(language_model, embeddings, positions, attention_mask=dense_bias(visible, embeddings.dtype))
    assert places is not None
    if kernel == KERNELS[FLEX]:
        return _run(language_model, embeddings, positions, attention_mask=block_mask(*places))
    rows = embeddings.shape[:2]
    flat = embeddings.flatten(0, 1).unsqueeze(0), positions.reshape(1, -1)
    return _run(language_model, *flat, attention_mask=None, **documents(*places)).view(*rows, -1)


def _run(language_model: Any, embeddings: torch.Tensor, positions: torch.Tensor, **how: Any) -> torch.Tensor:
    return language_model(
        inputs_embeds=embeddings, position_ids=positions, use_cache=False, **how
    ).last_hidden_state  # fmt: skip


def dense_bias(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to the scores: 0 where a token is seen, the smallest number elsewhere.

    Under autocast it is cast here, once, and not in every layer; the numbers are those that the layers would get.
    """
    kind = visible.device.type
    bias = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    bias = bias.masked_fill(~visible, torch.finfo(dtype).min)
    return bias.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else bias


def block_mask(segments: torch.Tensor, branches: torch.Tensor) -> Any:
    """Return FlexAttention's mask of packs: `packing.visible` as a function of two places, for (B, L) of each.

    A padded token has a segment of its own (below 0), so it sees itself alone.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    def is_seen(row: Any, _head: Any, asks: Any, seen: Any) -> Any:
        same_segment = segments[row, asks] == segments[row, seen]
        shared = branches[row, seen] == PREFIX_BRANCH
        return (seen <= asks) & same_segment & (shared | (branches[row, asks] == branches[row, seen]))

    rows, length = segments.shape
    return create_block_mask(is_seen, rows, None, length, length, device=str(segments.device))


def check_documents(num_branches: int) -> None:
    """Refuse packs in which up to `num_branches` conversations share a prefix.

    Raises:
        ConfigError: there is more than one.
    """
    if num_branches > 1:
        raise ConfigError(
            f"up to {num_branches} conversations share an image's encoding, which lengths of documents cannot say",
            where=f"{WHERE}={VARLEN}", fix=f"{WHERE}={FLEX}",
        )  # fmt: skip


def documents(segments: torch.Tensor, branches: torch.Tensor) -> dict[str, Any]:
    """Return the lengths of the documents of packs laid end to end, as transformers hands them to flash-attn.

    The padding of a row is one document, of which nothing is learned.

    Raises:
        ConfigError: a segment holds several conversations behind one prefix.
    """
    check_documents(int(branches.max()))
    known = segments.clamp(min=-1)
    begins = torch.ones_like(known, dtype=torch.bool)
    begins[:, 1:] = known[:, 1:] != known[:, :-1]
    end = torch.tensor([known.numel()], device=known.device)
    bounds = torch.cat([begins.flatten().nonzero().flatten(), end]).to(torch.int32)
    longest = int(bounds.diff().max())
    return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
