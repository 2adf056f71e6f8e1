"""Closed questions laid out as trees of tokens, so that nothing is computed twice.

Questions about the same images share their prompts' common start (the images); each question is a branch of
it, each option a branch of its question. A row holds one such tree: token i sees token j when j is not later
and lies on i's path to the root. Position ids run along the path, so every option is scored as if it stood
alone behind its question.

B rows, L tokens of the longest row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

ROW_TOKENS = 768
SHARED = 0


@dataclass(frozen=True, slots=True)
class ClosedPrompt:
    """One question ready to be scored: its prompt's ids, and each option's ids with the end mark last.

    `head` is the number of tokens up to and including the last image token.
    """

    number: int
    images: tuple[str, ...]
    prompt: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]
    head: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """An option's token, and the place in the row whose output predicts it."""

    place: int
    token: int
    number: int  # of the ClosedPrompt
    option: int


@dataclass
class Tree:
    """One row under construction: tokens, their positions, question and option branch (0 is shared)."""

    images: tuple[str, ...]
    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    questions: list[int] = field(default_factory=list)
    options: list[int] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def extend(self, ids: Sequence[int], *, start: int, question: int = SHARED, option: int = SHARED) -> None:
        """Lay a run of tokens behind what is there; `start` is its first position on its path."""
        self.ids.extend(ids)
        self.positions.extend(range(start, start + len(ids)))
        self.questions.extend([question] * len(ids))
        self.options.extend([option] * len(ids))

    def visible(self) -> np.ndarray:
        """Return the (L, L) mask of who sees whom."""
        question, option = np.asarray(self.questions), np.asarray(self.options)
        same_question = (question[None, :] == SHARED) | (question[None, :] == question[:, None])
        same_option = (option[None, :] == SHARED) | (option[None, :] == option[:, None])
        return np.tri(len(self), dtype=bool) & same_question & same_option


def make_trees(prompts: Sequence[ClosedPrompt], *, row_tokens: int = ROW_TOKENS) -> list[Tree]:
    """Lay questions about the same images into rows of about `row_tokens` tokens, longest row first."""
    groups: defaultdict[tuple[object, ...], list[ClosedPrompt]] = defaultdict(list)
    for prompt in prompts:
        groups[prompt.images, prompt.prompt[: prompt.head]].append(prompt)
    trees = [tree for group in groups.values() for tree in _group_trees(group, row_tokens)]
    return sorted(trees, key=lambda tree: -len(tree))


def _group_trees(group: Sequence[ClosedPrompt], row_tokens: int) -> list[Tree]:
    prefix = common_start([prompt.prompt[:-1] for prompt in group])
    trees: list[Tree] = []
    for prompt in group:
        extra = len(prompt.prompt) - prefix + sum(len(option) - 1 for option in prompt.options)
        if not trees or len(trees[-1]) + extra > row_tokens:
            trees.append(Tree(prompt.images))
            trees[-1].extend(prompt.prompt[:prefix], start=0)
        _add_question(trees[-1], prompt, prefix)
    return trees


def _add_question(tree: Tree, prompt: ClosedPrompt, prefix: int) -> None:
    branch = max(tree.questions, default=SHARED) + 1
    tree.extend(prompt.prompt[prefix:], start=prefix, question=branch)
    last = len(tree) - 1
    for index, option in enumerate(prompt.options):
        first = len(tree)
        tree.extend(option[:-1], start=len(prompt.prompt), question=branch, option=index + 1)
        places = [last, *range(first, len(tree))]
        tree.targets.extend(
            Target(place, token, prompt.number, index) for place, token in zip(places, option, strict=True)
        )


def common_start(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens all sequences share."""
    return len(list(takewhile(lambda column: len(set(column)) == 1, zip(*sequences, strict=False))))
