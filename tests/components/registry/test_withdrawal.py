from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import DataError
from components.pairs.withdrawal import load_withdrawn
from components.registry.promotion import run_register
from components.registry.trace import find_record, stages_that_saw
from components.registry.withdrawal import find_records, print_withdrawal, withdraw


def test_a_withdrawal_is_written_and_names_the_models_that_saw_it(project, capsys) -> None:
    run_register(project)
    patient = find_record(Path("artifacts/records"), "record0001")["patient_key"]
    done = withdraw(project, patient=patient)
    assert done.num_records == len(find_records(Path("artifacts/records"), patient=patient, source=""))
    assert done.versions == ("1",)
    assert [stage.name for stage in done.stages] == list(project.recipe.stages)
    assert load_withdrawn().patients == (patient,)
    capsys.readouterr()
    print_withdrawal(project, patient="", source="some_ct")
    shown = capsys.readouterr().out
    assert "model versions that saw them: 1" in shown
    assert load_withdrawn().sources == ("some_ct",)


def test_an_unknown_patient_or_source_is_refused_and_nothing_is_written(project) -> None:
    with pytest.raises(DataError, match="no record of patient or source 'nobody'"):
        withdraw(project, patient="nobody")
    with pytest.raises(DataError, match="nothing to withdraw"):
        withdraw(project)
    assert load_withdrawn().patients == ()


def test_records_that_nobody_trained_on_reached_no_stage(project) -> None:
    assert stages_that_saw(project, ["nothing"]) == ()
