"""What a source's terms allow. What a card does not state is forbidden, as the strictest answer is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from components.data.card import Card
from components.errors import TermsDenied

USES = ("may_leave_machine", "may_reach_third_party_model", "may_be_redistributed", "commercial_use")


def allows(card: Card, use: str) -> bool:
    """Tell whether a card's terms say yes to a use (one of USES)."""
    return getattr(card.terms, use) == "yes"


def allowed_cards(cards: Sequence[Card], allow_noncommercial: bool) -> tuple[list[Card], list[str]]:
    """Part the cards into those whose terms allow this corpus's use and the names of those dropped.

    A corpus for commercial use takes only what says yes to it; "not stated" is not a yes.
    """
    dropped = [card.name for card in cards if not (allow_noncommercial or allows(card, "commercial_use"))]
    return [card for card in cards if card.name not in dropped], dropped


def may_reach_third_party(card: Card) -> bool:
    """Tell whether a source's images and texts may be sent to somebody else's model.

    Such a model is on another machine, so both answers must be yes.
    """
    return allows(card, "may_reach_third_party_model") and allows(card, "may_leave_machine")


def check_third_party(cards: Iterable[Card]) -> None:
    """Raise TermsDenied, naming every source that may not reach a third-party model, before a byte leaves."""
    denied = [card.name for card in cards if not may_reach_third_party(card)]
    if denied:
        raise TermsDenied(
            f"may not be sent to a third-party model: {', '.join(denied)}", where="terms in conf/sources",
            fix="gmai configure pair.denied_sources=templates, or a local model, or state the terms in the card",
        )  # fmt: skip


def strictest_terms(cards: Iterable[Card]) -> dict[str, str]:
    """The answers that hold for a corpus or a model made of these sources: no, before not stated, before yes."""
    return strictest_answers(card.terms.model_dump() for card in cards)


def strictest_answers(answers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The strictest answer to each use among the given ones; of nothing, nothing is stated."""
    given = list(answers) or [dict.fromkeys(USES, "not stated")]
    return {use: next((a for a in ("no", "not stated") if any(t[use] == a for t in given)), "yes") for use in USES}
