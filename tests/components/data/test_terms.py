"""Only a stated yes is a yes: what terms do not say is forbidden, before any byte leaves."""

import pytest

from components.data.card import Terms
from components.data.terms import USES, allows, check_third_party, may_reach_third_party, strictest_terms
from components.errors import TermsDenied
from tests.fakes.sources import make_card


def card_with(name="some_ct", **answers):
    return make_card(name, "plain_volumes", {}, terms={**dict.fromkeys(USES, "yes"), **answers})


def test_the_uses_are_the_cards_terms():
    assert set(USES) == set(Terms.model_fields)


@pytest.mark.parametrize("answer", ["no", "not stated"])
@pytest.mark.parametrize("use", USES)
def test_only_yes_allows(use, answer):
    assert allows(card_with(), use)
    assert not allows(card_with(**{use: answer}), use)


@pytest.mark.parametrize("use", ["may_leave_machine", "may_reach_third_party_model"])
@pytest.mark.parametrize("answer", ["no", "not stated"])
def test_a_third_party_model_needs_both_answers(use, answer):
    assert may_reach_third_party(card_with())
    assert not may_reach_third_party(card_with(**{use: answer}))


def test_a_denied_source_is_named():
    check_third_party([card_with()])
    with pytest.raises(TermsDenied, match="third-party model: private_mr"):
        check_third_party([card_with(), card_with("private_mr", may_leave_machine="not stated")])


def test_the_strictest_answer_holds_for_all():
    cards = [card_with(), card_with("b", commercial_use="not stated"), card_with("c", may_be_redistributed="no")]
    cards.append(card_with("d", may_be_redistributed="not stated"))
    assert strictest_terms(cards) == {
        "may_leave_machine": "yes", "may_reach_third_party_model": "yes",
        "may_be_redistributed": "no", "commercial_use": "not stated",
    }  # fmt: skip
