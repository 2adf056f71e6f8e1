"""Sequence packing: several conversations in one row of tokens, none of which sees another.

A *segment* is the images of one record (or pair of records) with every conversation about them. The images'
tokens are the segment's prefix, encoded once; each conversation is a branch that sees the prefix and itself.
Position ids restart with each segment, and each branch continues from the prefix, so a conversation's loss
packed equals its loss alone. GMAI-VL packs about two samples a row ("soft packing", arXiv 2411.14522 v1,
Table 8), next-fit over a random order; this module also fills gaps in packs still open.

B batch, L tokens of the longest pack in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from components.model.chat import EncodedConversation

PREFIX_BRANCH = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """One or more conversations about the same images, laid out as tokens.

    Every array has one entry a token: `ids`, `positions`, `branches` (0 is the shared prefix), `supervised`
    (the token is a target). `images` are rows of the image store, in reading order.
    """

    pair_ids: tuple[str, ...]
    images: tuple[int, ...]
    ids: np.ndarray
    positions: np.ndarray
    branches: np.ndarray
    supervised: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Pack:
    """Segments in one row; `segments[i]` numbers the segment token i belongs to, `kinds[i]` is of pair i."""

    pair_ids: tuple[str, ...]
    images: tuple[int, ...]
    ids: np.ndarray
    positions: np.ndarray
    branches: np.ndarray
    supervised: np.ndarray
    segments: np.ndarray
    kinds: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def make_segments(
    conversations: Sequence[tuple[str, EncodedConversation]], images: Sequence[int], *, max_length: int
) -> Iterator[Segment]:
    """Lay conversations about the same images behind one prefix, opening a new segment when one is full.

    All conversations must share their prefix tokens, and none may be longer than `max_length` alone.

    Raises:
        ValueError: a conversation is too long, or its prefix differs from the first one's.
    """
    prefix_length = conversations[0][1].prefix_length
    prefix = conversations[0][1].ids[:prefix_length]
    waiting: list[tuple[str, EncodedConversation]] = []
    length = prefix_length
    for pair_id, conversation in conversations:
        extra = len(conversation.ids) - prefix_length
        if prefix_length + extra > max_length:
            raise ValueError(f"pair {pair_id} has {len(conversation.ids)} tokens, more than {max_length}")
        if conversation.ids[:prefix_length] != prefix or conversation.prefix_length != prefix_length:
            raise ValueError(f"pair {pair_id} does not share the prefix of {conversations[0][0]}")
        if waiting and length + extra > max_length:
            yield _segment(waiting, images, prefix_length)
            waiting, length = [], prefix_length
        waiting.append((pair_id, conversation))
        length += extra
    yield _segment(waiting, images, prefix_length)


def _segment(
    conversations: Sequence[tuple[str, EncodedConversation]], images: Sequence[int], prefix_length: int
) -> Segment:
    first = conversations[0][1]
    ids, supervised = list(first.ids[:prefix_length]), list(first.supervised[:prefix_length])
    positions, branches = list(range(prefix_length)), [PREFIX_BRANCH] * prefix_length
    for number, (_, conversation) in enumerate(conversations, start=1):
        extra = len(conversation.ids) - prefix_length
        ids.extend(conversation.ids[prefix_length:])
        supervised.extend(conversation.supervised[prefix_length:])
        positions.extend(range(prefix_length, prefix_length + extra))
        branches.extend([number] * extra)
    return Segment(
        pair_ids=tuple(pair_id for pair_id, _ in conversations),
        images=tuple(images),
        ids=np.asarray(ids, np.int32),
        positions=np.asarray(positions, np.int32),
        branches=np.asarray(branches, np.int16),
        supervised=np.asarray(supervised, bool),
    )


def pack_segments(segments: Iterable[Segment], *, max_length: int, open_packs: int = 16) -> Iterator[Pack]:
    """Join segments into packs of at most `max_length` tokens: first fit over the packs still open.

    At most `open_packs` are open; the oldest closes first, so memory is bounded and the order stays near the
    given one. With one open pack this is next-fit, the paper's soft packing.
    """
    waiting: list[list[Segment]] = []
    for segment in segments:
        fits = (pack for pack in waiting if sum(map(len, pack)) + len(segment) <= max_length)
        chosen = next(fits, None)
        if chosen is None:
            if len(waiting) >= open_packs:
                yield _pack(waiting.pop(0))
            waiting.append([segment])
        else:
            chosen.append(segment)
    yield from map(_pack, waiting)


def _pack(segments: Sequence[Segment]) -> Pack:
    return Pack(
        pair_ids=tuple(pair_id for segment in segments for pair_id in segment.pair_ids),
        images=tuple(image for segment in segments for image in segment.images),
        ids=np.concatenate([segment.ids for segment in segments]),
        positions=np.concatenate([segment.positions for segment in segments]),
        branches=np.concatenate([segment.branches for segment in segments]),
        supervised=np.concatenate([segment.supervised for segment in segments]),
        segments=np.concatenate(
            [np.full(len(segment), number, np.int16) for number, segment in enumerate(segments)]
        ),
    )


def visible(segments: np.ndarray, branches: np.ndarray) -> np.ndarray:
    """Return the (L, L) boolean mask: token i sees token j.

    i sees j when j is not later, lies in the same segment, and is in the prefix or in i's own branch.
    """
    length = len(segments)
    causal = np.tri(length, dtype=bool)
    same_segment = segments[:, None] == segments[None, :]
    same_branch = (branches[:, None] == branches[None, :]) | (branches[None, :] == PREFIX_BRANCH)
    return causal & same_segment & same_branch


def targets(pack: Pack, *, ignore: int = -100) -> np.ndarray:
    """Return for each token the id it must predict, or `ignore`: (L,) int64.

    The predecessor of a supervised token is the token before it in the same branch (a branch's first token
    follows the prefix's last), which here is never supervised, because every branch opens with user text.
    """
    labels = np.full(len(pack), ignore, np.int64)
    follows = (pack.segments[1:] == pack.segments[:-1]) & (pack.branches[1:] == pack.branches[:-1])
    learn = pack.supervised[1:] & follows
    labels[:-1][learn] = pack.ids[1:][learn]
    return labels
