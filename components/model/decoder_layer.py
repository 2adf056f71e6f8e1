"""A decoder layer of the Llama family written out: its two halves as one function each, forward and back.

As modules, a layer is some sixty operations forward and twice as many back; the arrays between them are cast to
autocast's type once for each product that reads them. Written out, query, key and value are one product and so are
gate and up, what the norms give is cast once, and no array is kept that the way back does not need. Products are
torch's own; the scores are kept, so this is for short rows on a CPU. Which layers it fits is `fits`; the others,
and calls it does not fit (a cache, no mask, long rows), run as transformers wrote them.

B batch, L tokens, D hidden size, H heads, K heads of keys, W width of a head, F width between gate and down.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from components.model.attention import attend_backward, attend_forward
from components.model.packed_weights import Packed

FAMILIES = ("LlamaDecoderLayer", "Qwen2DecoderLayer", "MistralDecoderLayer")
MOST_TOKENS = 1024  # a row's scores are H x L x L numbers, kept for the way back


def fits(layer: Any) -> bool:
    """Say whether a layer is of the form written out here, in float32 and without adapters or dropout."""
    if type(layer).__name__ not in FAMILIES or "forward" in vars(layer):
        return False
    attention, gated = layer.self_attn, layer.mlp
    linear = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    linear += [gated.gate_proj, gated.up_proj, gated.down_proj]
    return (
        all(type(part) is torch.nn.Linear and part.weight.dtype == torch.float32 for part in linear)
        and all(part.weight.device.type == "cpu" for part in linear)
        and all(part.bias is None for part in (attention.o_proj, *linear[4:]))
        and (attention.q_proj.bias is None) == (attention.k_proj.bias is None) == (attention.v_proj.bias is None)
        and type(gated.act_fn).__name__ in ("SiLU", "SiLUActivation")
        and not attention.attention_dropout
    )


@contextmanager
def written_out(language_model: Any) -> Generator[int]:
    """Let every layer that fits compute as written here until the block ends; yields how many do."""
    layers = [layer for layer in language_model.layers if fits(layer)]
    for layer in layers:
        layer.forward = _forward_of(layer)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward


def _forward_of(layer: Any) -> Callable[..., torch.Tensor]:
    attention, gated, plain = layer.self_attn, layer.mlp, layer.forward
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    asked = _Joined([part.weight for part in projections])
    gate_up, down = _Joined([gated.gate_proj.weight, gated.up_proj.weight]), _Joined([gated.down_proj.weight])
    output = _Joined([attention.o_proj.weight])
    first, second = layer.input_layernorm, layer.post_attention_layernorm
    biases = [part.bias for part in projections if part.bias is not None]
    heads = attention.config.num_attention_heads, attention.config.num_key_value_heads, attention.head_dim

    def forward(hidden_states: torch.Tensor, attention_mask: Any = None, *rest: Any, **how: Any) -> torch.Tensor:
        turns = how.get("position_embeddings") or ()
        if rest or not _is_plain_call(hidden_states, attention_mask, turns, heads[2], how):
            return plain(hidden_states, attention_mask, *rest, **how)
        shape = (*heads, attention.scaling, first.variance_epsilon)
        hidden_states = _AttentionHalf.apply(
            hidden_states, attention_mask, *turns, asked, output, shape, first.weight,
            *asked.weights, *output.weights, *biases,
        )  # fmt: skip
        return _GatedHalf.apply(
            hidden_states, gate_up, down, second.variance_epsilon, second.weight, *gate_up.weights, *down.weights
        )

    return forward


def _is_plain_call(hidden: torch.Tensor, mask: Any, turns: Any, width: int, how: dict[str, Any]) -> bool:
    """Say whether a call is packed rows of training: float32, a mask to add, whole heads turned, no cache."""
    return (
        hidden.dtype == torch.float32
        and hidden.shape[1] <= MOST_TOKENS
        and torch.is_tensor(mask)
        and mask.is_floating_point()
        and len(turns) == 2
        and turns[0].shape[-1] == width
        and how.get("past_key_values") is None
        and not how.get("use_cache")
    )


class _Joined:
    """Matrices of the same width as one, ready for products; kept while none of them learns."""

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        self.weights, self.rows = tuple(weights), [len(weight) for weight in weights]
        self._kept: Packed | None = None

    @property
    def learns(self) -> bool:
        """Whether any of the matrices does."""
        return any(weight.requires_grad for weight in self.weights)

    def ready(self, dtype: torch.dtype) -> Packed:
        """Return (rows of all, width) in `dtype`, laid out for products where it rests."""
        if self.learns:
            self._kept = None
            return Packed(self._cast(dtype), rests=False)
        if self._kept is None or self._kept.dtype != dtype:
            self._kept = Packed(self._cast(dtype))
        return self._kept

    def _cast(self, dtype: torch.dtype) -> torch.Tensor:
        if len(self.weights) == 1:
            return self.weights[0].detach().to(dtype)
        joined = torch.empty(sum(self.rows), self.weights[0].shape[1], dtype=dtype)
        for part, weight in zip(joined.split(self.rows), self.weights, strict=True):
            part.copy_(weight.detach())
        return joined

    def gradients(self, of_output: torch.Tensor, inputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return each matrix's float32 gradient, None where all rest, from (M, rows of all) and (M, width)."""
        if not self.learns:
            return (None,) * len(self.weights)
        return (of_output.t() @ inputs).float().split(self.rows)


def _dtype() -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def _normed(
    hidden: torch.Tensor, weight: torch.Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the root-mean-square norm of (M, D) in `dtype`, and the rate (M, 1) that each row was scaled by."""
    rate = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True).square_()
    rate.mul_(1 / hidden.shape[-1]).add_(epsilon).rsqrt_()
    return (hidden * rate).mul_(weight).to(dtype), rate


def _norm_backward(
    of_normed: torch.Tensor,
    hidden: torch.Tensor,
    rate: torch.Tensor,
    weight: torch.Tensor,
    of_output: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the gradients of (M, D) and of the norm's weight; `of_output` (M, D) came past the half."""
    gradient = of_normed.float()
    of_weight = (gradient * hidden).mul_(rate).sum(0) if weight.requires_grad else None
    gradient.mul_(weight)  # of a product made for this alone
    share = torch.linalg.vecdot(gradient, hidden).unsqueeze_(-1).mul_(rate.pow(3)).mul_(-1 / hidden.shape[-1])
    return torch.addcmul(of_output, gradient, rate).addcmul_(hidden, share), of_weight


def _turned(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Turn heads (B, L, N, W) by their positions (cosine, sine: (B, 1, L, W)): (B, N, L, W), contiguous."""
    heads = heads.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return _rotated(heads, cosine, sine, direction=1).to(dtype)


def _turned_back(of_turned: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, into: torch.Tensor) -> None:
    """Write the gradient of heads into (B, L, N, W) from that of the turned ones (B, N, L, W)."""
    into.copy_(_rotated(of_turned.float(), cosine, sine, direction=-1).transpose(1, 2))


def _rotated(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, *, direction: int) -> torch.Tensor:
    """Rotate pairs of numbers half a head apart, onwards (1) or back (-1); both halves have the same angles."""
    half = heads.shape[-1] // 2
    found = heads * cosine
    found[..., :half].addcmul_(heads[..., half:], sine[..., :half], value=-direction)
    found[..., half:].addcmul_(heads[..., :half], sine[..., half:], value=direction)
    return found


class _AttentionHalf(torch.autograd.Function):
    """hidden + output(attention(norm(hidden))): inputs as `_forward_of` lays them out."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        hidden, mask, cosine, sine, asked, output, shape, norm, *parameters = inputs
        heads, groups, width, scale, epsilon = shape
        dtype, biases = _dtype(), parameters[len(asked.weights) + len(output.weights) :]
        cosine, sine = cosine.float().unsqueeze(1), sine.float().unsqueeze(1)
        rows, casts = hidden.reshape(-1, hidden.shape[-1]), (asked.ready(dtype), output.ready(dtype))
        normed, rate = _normed(rows, norm, epsilon, dtype)
        joined = casts[0].forward(normed)
        joined = (joined + torch.cat(biases).to(dtype) if biases else joined).view(*hidden.shape[:2], -1, width)
        query = _turned(joined[:, :, :heads], cosine, sine, dtype)
        key = _turned(joined[:, :, heads : heads + groups], cosine, sine, dtype)
        value = joined[:, :, heads + groups :].transpose(1, 2).contiguous()
        found, shares, _ = attend_forward(query, key, value, mask, scale=scale)
        found = found.transpose(1, 2).reshape(-1, heads * width)
        ctx.save_for_backward(rows, rate, norm, normed, query, key, value, shares, found, cosine, sine)
        ctx.casts, ctx.asked, ctx.output, ctx.scale = casts, asked, output, scale
        ctx.biases = [len(bias) for bias in biases]
        return torch.add(rows, casts[1].forward(found)).view(hidden.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        rows, rate, norm, normed, query, key, value, shares, found, cosine, sine = ctx.saved_tensors
        batch, heads, length, width = query.shape
        groups, of_half = key.shape[1], gradients[0].reshape(rows.shape)
        of_output = of_half.to(normed.dtype)
        of_found = ctx.casts[1].back(of_output).view(batch, length, heads, width).transpose(1, 2)
        turned = attend_backward(of_found, query, key, value, shares, None, scale=ctx.scale)
        of_joined = query.new_empty(batch, length, heads + 2 * groups, width)
        _turned_back(turned[0], cosine, sine, of_joined[:, :, :heads])
        _turned_back(turned[1], cosine, sine, of_joined[:, :, heads : heads + groups])
        of_joined[:, :, heads + groups :].copy_(turned[2].transpose(1, 2))
        of_joined = of_joined.view(len(rows), -1)
        of_rows, of_norm = _norm_backward(ctx.casts[0].back(of_joined), rows, rate, norm, of_half)
        learned = (
            *ctx.asked.gradients(of_joined, normed), *ctx.output.gradients(of_output, found),
            *(of_joined.float().sum(0).split(ctx.biases) if ctx.biases else ()),
        )  # fmt: skip
        return of_rows.view(gradients[0].shape), *[None] * 6, of_norm, *learned


class _GatedHalf(torch.autograd.Function):
    """hidden + down(silu(gate(norm(hidden))) * up(norm(hidden)))."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        hidden, gate_up, down, epsilon, norm, *_ = inputs
        dtype, rows = _dtype(), hidden.reshape(-1, hidden.shape[-1])
        casts = gate_up.ready(dtype), down.ready(dtype)
        normed, rate = _normed(rows, norm, epsilon, dtype)
        joined = casts[0].forward(normed)
        gate, up = joined.chunk(2, -1)
        open_gate = functional.silu(gate)
        inner = open_gate * up
        ctx.save_for_backward(rows, rate, norm, normed, joined, open_gate, inner)
        ctx.casts, ctx.gate_up, ctx.down = casts, gate_up, down
        return torch.add(rows, casts[1].forward(inner)).view(hidden.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        rows, rate, norm, normed, joined, open_gate, inner = ctx.saved_tensors
        of_half = gradients[0].reshape(rows.shape)
        of_output, (gate, up) = of_half.to(normed.dtype), joined.chunk(2, -1)
        of_inner, of_joined = ctx.casts[1].back(of_output), torch.empty_like(joined)
        of_gate, of_up = of_joined.chunk(2, -1)
        torch.mul(of_inner, open_gate, out=of_up)
        torch.ops.aten.silu_backward.grad_input(of_inner * up, gate, grad_input=of_gate)
        of_rows, of_norm = _norm_backward(ctx.casts[0].back(of_joined), rows, rate, norm, of_half)
        learned = *ctx.gate_up.gradients(of_joined, normed), *ctx.down.gradients(of_output, inner)
        return of_rows.view(gradients[0].shape), None, None, None, of_norm, *learned
