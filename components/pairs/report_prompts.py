"""How the sections of a source's report are asked for; the report as a whole is asked for by the wordings.

These are not among the wordings' shapes: the hash of those is in every templated pair, and no template says these.
"""

from __future__ import annotations

from random import Random

PROMPTS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "findings": (
            "Write the findings section of the report.", "What are the findings?",
            "List the findings of this study.",
            "Dictate the findings.", "Describe the findings as a radiologist would report them.",
        ),
        "impression": (
            "Write the impression of the report.", "What is your impression?",
            "Give the impression of this study.",
            "Conclude the report.", "Sum up the study in an impression.",
        ),
    },
    "zh": {
        "findings": ("请写出报告的检查所见。", "检查所见是什么？", "请描述本次检查的所见。", "请口述影像所见。"),
        "impression": ("请写出报告的印象。", "你的诊断印象是什么？", "请给出本次检查的结论。", "请总结这份报告。"),
    },
}  # fmt: skip


def ask_section(name: str, language: str, rng: Random) -> str:
    """Return one of the ways to ask for a section ("findings" or "impression")."""
    return rng.choice(PROMPTS[language][name])
