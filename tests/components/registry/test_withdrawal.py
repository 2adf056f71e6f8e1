from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.__main__ import app
from components.data.deidentify import keyed_hash
from components.data.tombstones import TOMBSTONES, load_withdrawn
from components.errors import DataError
from components.registry import withdrawal as room
from components.registry.promotion import run_register
from components.registry.trace import find_record, stages_that_saw
from components.registry.withdrawal import Withdrawal, find_records, patient_key_of, print_withdrawal, withdraw
from tests.fakes.sources import make_card, write_card


def test_a_withdrawal_is_written_and_names_the_models_that_saw_it(project, capsys) -> None:
    run_register(project)
    patient = find_record(Path("artifacts/records"), "record0001")["patient_key"]
    done = withdraw(project, patient=patient)
    assert done.num_records == len(find_records(Path("artifacts/records"), "patient_key", patient))
    assert done.versions == ("1",)
    assert [stage.name for stage in done.stages] == list(project.recipe.stages)
    assert load_withdrawn().patients == (patient,)
    capsys.readouterr()
    print_withdrawal(project, patient="", source="some_ct")
    shown = capsys.readouterr().out
    assert "model versions that saw them: 1" in shown
    assert load_withdrawn().sources == ("some_ct",)


def test_each_of_two_names_is_looked_for_by_itself_and_nothing_is_written(project) -> None:
    """A wrong patient beside a good source was once written down as withdrawn."""
    with pytest.raises(DataError, match="no record here has the patient key 'nobody'"):
        withdraw(project, patient="nobody", source="some_ct")
    with pytest.raises(DataError, match="no record and no card has the source 'sum_ct'"):
        withdraw(project, patient="patient01", source="sum_ct")
    assert not TOMBSTONES.exists()


def test_nothing_named_is_told_before_anything_is_looked_for(project) -> None:
    shutil.rmtree(project.work_root)
    with pytest.raises(DataError, match="nothing to withdraw"):
        withdraw(project)


def test_a_source_is_withdrawn_before_it_was_ever_ingested(project, capsys) -> None:
    Path("conf/sources").mkdir(parents=True)
    write_card(Path("conf/sources"), make_card("other_ct", "plain_volumes", {}))
    assert withdraw(project, source="other_ct") == Withdrawal(0, ())
    shutil.rmtree(project.work_root)
    print_withdrawal(project, source="other_ct")
    assert "withdrawn: 0 records" in capsys.readouterr().out
    assert load_withdrawn().sources == ("other_ct",)
    with pytest.raises(DataError, match="near matches: other_ct"):
        withdraw(project, source="other_ctt")
    with pytest.raises(DataError, match="no record here has the patient key"):
        withdraw(project, patient="patient01")


def test_a_patients_own_id_is_hashed_and_never_told(project, capsys, monkeypatch) -> None:
    monkeypatch.setenv("GMAI_PATIENT_KEY", "a key of the tests")
    Path("conf/sources").mkdir(parents=True)
    write_card(Path("conf/sources"), make_card("some_ct", "plain_volumes", {}))
    key = keyed_hash(b"a key of the tests", "some_ct", "Doe^Jane 4711")
    assert patient_key_of("Doe^Jane 4711", "some_ct") == key
    with pytest.raises(DataError, match=f"patient key '{key}'") as caught:
        print_withdrawal(project, patient_id="Doe^Jane 4711", namespace="some_ct")
    with pytest.raises(DataError, match="namespace 'somect'; near matches: some_ct") as unknown:
        print_withdrawal(project, patient_id="Doe^Jane 4711", namespace="somect")
    with pytest.raises(DataError, match="name the patient once"):
        print_withdrawal(project, patient="patient01", patient_id="Doe^Jane 4711")
    monkeypatch.setattr(room, "keyed_hash", lambda *parts: "patient01")
    print_withdrawal(project, patient_id="Doe^Jane 4711", namespace="some_ct")
    assert load_withdrawn().patients == ("patient01",)
    told = capsys.readouterr().out + str(caught.value) + str(unknown.value) + TOMBSTONES.read_text()
    assert "4711" not in told


def test_the_command_reads_the_id_from_standard_input(monkeypatch) -> None:
    asked: dict[str, str] = {}
    monkeypatch.setattr(room, "print_withdrawal", lambda settings, **named: asked.update(named))
    run = CliRunner().invoke(app, ["withdraw", "--patient-id", "-", "--namespace", "n"], input="Doe^Jane\n")
    assert run.exit_code == 0 and (asked["patient_id"], asked["namespace"]) == ("Doe^Jane", "n")


def test_a_withdrawal_stands_where_the_pairs_are_gone(project, capsys) -> None:
    shutil.rmtree(project.work_root / "pairs")
    print_withdrawal(project, source="some_ct")
    assert "which model versions saw them is not known" in capsys.readouterr().out
    assert load_withdrawn().sources == ("some_ct",)


def test_records_that_nobody_trained_on_reached_no_stage(project) -> None:
    assert stages_that_saw(project, ["nothing"]) == ()
