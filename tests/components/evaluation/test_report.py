"""What stands in the report and what does not stand there twice."""

from __future__ import annotations

from components.evaluation.report import best_and_worst, render_report
from tests.fakes.report import make_report_inputs


def test_no_item_is_among_the_best_and_the_worst() -> None:
    exams, predictions, _, images, _ = make_report_inputs()
    for exam in exams:
        best, worst = ({one.item.item_id for one in part} for part in best_and_worst(exam, predictions, images))
        assert best and not best & worst


def test_the_report_says_where_the_champion_stands_and_what_the_majority_is() -> None:
    exams, predictions, metrics, images, heat = make_report_inputs()
    metrics["details"]["no_training_part"] = {"boxes": "first option (no training part)"}
    metrics["details"]["not_pointed"] = {"refused": "no one grid", "no cell's centre lies in the box": 3}
    page = render_report(exams, predictions, metrics, images, heat, standing="e.report.html")
    assert 'href="../e.report.html"' in page
    assert "boxes: majority is the first option (no training part)." in page
    assert "Not measured: no one grid." in page and "centre lies in the box: 3 items." in page


def test_a_map_that_is_measured_and_not_drawn_has_no_card() -> None:
    exams, predictions, metrics, images, heat = make_report_inputs()
    whole = render_report(exams, predictions, metrics, images, heat)
    from dataclasses import replace

    part = render_report(exams, predictions, metrics, images, [replace(heat[0], picture=""), *heat[1:]])
    assert part.count("<img ") == whole.count("<img ") - 1
