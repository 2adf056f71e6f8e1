"""Items for tests, with everything filled in that a test does not care about."""

from __future__ import annotations

from dataclasses import replace

from components.evaluation.items import Item

PLAIN = Item(
    item_id="i", question="<image>\nIs there a lung? Answer yes or no.", gold="yes", reference="yes",
    record_ids=("r",), patient_key="p", modality="CT", department="Pulmonary Medicine", language="en",
    question_type="presence", kind="percept", source="fake", options=("yes", "no"),
)  # fmt: skip


def make_item(**changes) -> Item:
    return replace(PLAIN, **changes)
