"""Pictures stay here when their terms do not say that they may leave; their words may go."""

from pathlib import Path

import pytest

from components.data.pictures_elsewhere import (
    WITHHELD_TAG,
    log_page,
    say_withheld,
    withheld_sources,
    without_pictures,
)
from components.tracking.store import keeps_here
from tests.components.data.test_terms import card_with
from tests.fakes.tables import FakeRun

PAGE = "<p>words</p><img src=\"data:image/png;base64,AAAA+/==\"><img src='data:image/jpeg;base64,BBBB'>"


def remote_run():
    run = FakeRun()
    run.keeps_here = False
    return run


@pytest.mark.parametrize(
    ("uri", "artifacts", "stays"),
    [
        ("sqlite:///mlflow.db", "/work/mlartifacts/1/a", True),
        ("sqlite:///mlflow.db", "file:///work/mlartifacts/1/a", True),
        ("sqlite:///mlflow.db", "s3://bucket/1/a", False),
        ("postgresql://db.ward.org/mlflow", "gs://bucket/1/a", False),
        ("http://127.0.0.1:5000", "mlflow-artifacts:/1/a", True),
        ("http://localhost:5000", "mlflow-artifacts:/1/a", True),
        ("https://mlflow.ward.org", "mlflow-artifacts:/1/a", False),
        ("http://127.0.0.1:5000", "mlflow-artifacts://mlflow.ward.org/1/a", False),
        ("http://127.0.0.1.ward.org", "mlflow-artifacts:/1/a", False),
        ("sqlite:///mlflow.db", "file://nas.ward.org/share/1/a", False),
        ("sqlite:///mlflow.db", "dbfs:/1/a", False),
    ],
)
def test_where_artefacts_lie_says_whether_they_stay(uri, artifacts, stays):
    assert keeps_here(uri, artifacts) is stays


def test_only_a_stated_yes_lets_pictures_leave():
    cards = [
        card_with("a"),
        card_with("b", may_leave_machine="no"),
        card_with("c", may_leave_machine="not stated"),
    ]
    assert withheld_sources(remote_run(), cards) == {"b", "c"}
    assert withheld_sources(FakeRun(), cards) == frozenset()


def test_a_page_loses_its_pictures_and_says_whose(tmp_path: Path, capsys):
    page = tmp_path / "report.html"
    page.write_text(PAGE)
    run = remote_run()
    log_page(run, page, {"b", "a"}, folder="kept")
    assert run.artifacts == [] and run.texts == {"kept/report.html": without_pictures(PAGE)}
    assert "words" in without_pictures(PAGE) and "base64" not in without_pictures(PAGE)
    assert run.tags == {WITHHELD_TAG: "a, b"} and "a, b" in capsys.readouterr().out


def test_a_page_that_may_go_goes_as_it_is(tmp_path: Path, capsys):
    page = tmp_path / "report.html"
    page.write_text(PAGE)
    run = remote_run()
    log_page(run, page, ())
    say_withheld(run, ())
    assert run.artifacts == ["report.html"] and not run.texts and not run.tags and not capsys.readouterr().out
