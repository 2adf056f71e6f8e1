"""Two processes answer what one does, byte for byte; one that is killed loses nothing that was kept."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from components.evaluation.answer_journal import AnswerJournal
from components.evaluation.answering import Machine, Pace, questions_of
from components.evaluation.catalog import find_benchmark
from components.evaluation.exams import Exam, make_exam
from components.evaluation.items import Answer
from components.evaluation.processes import Work, answer_all, answer_in_processes, share_of
from components.model.vlm import save_vlm
from tests.fakes.items import make_item
from tests.fakes.tables import png

IMAGES = {f"r{k}": png(40 * k) for k in range(4)}
PACE = Pace(batch_size=4, max_new_tokens=4)


def exams(number: int) -> list[Exam]:
    items = [
        make_item(item_id=f"i{k}", patient_key=f"p{k % 3}", record_ids=(f"r{k % 4}",), kind="caption",
                  question=f"<image>\nQuestion {'again ' * (k % 5)}{k}?")
        for k in range(number)
    ]  # fmt: skip
    return [make_exam(find_benchmark(name), items, [], number=number, seed=1) for name in ("captions", CLOSED)]


CLOSED = "closed_questions"


@pytest.fixture(scope="module")
def model(vlm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_vlm(vlm.model, vlm.processor, folder)
    return folder


def quiet(name: str, total: int):
    return lambda number: None


def journals(folder: Path) -> dict[str, AnswerJournal]:
    return {name: AnswerJournal("m", name, folder=folder) for name in ("captions", CLOSED)}


def answered(model: Path, folder: Path, processes: int, number: int = 70) -> list[dict[str, list[Answer]]]:
    asked = exams(number)
    machine = Machine(threads=2, processes=processes)
    answer_all(model, asked, IMAGES, pace=PACE, machine=machine, journals=journals(folder), steps=quiet)
    return [exam.answers for exam in asked]


def test_blocks_are_shared_out_whole(vlm) -> None:
    asked = questions_of(exams(70)[0])
    shares = [list(share_of(vlm, asked, PACE, rank=rank, number=2)) for rank in range(2)]
    assert sorted(place for share in shares for block in share for place in block) == list(range(len(asked.asks)))
    assert all(shares)


@pytest.mark.slow
def test_two_processes_give_the_answers_of_one(model: Path, tmp_path: Path) -> None:
    alone, shared = answered(model, tmp_path / "one", 1), answered(model, tmp_path / "two", 2)
    assert alone == shared
    files = {path.name.split(".", 1)[1].split("-")[0] for path in (tmp_path / "two").iterdir()}
    assert files == {"0", "1"}  # each process wrote a journal of its own, and nothing was left to the parent
    for journal in journals(tmp_path / "two").values():
        journal.remove()
    assert not list((tmp_path / "two").iterdir())


@pytest.mark.slow
def test_a_killed_process_loses_nothing_that_was_kept(model: Path, tmp_path: Path) -> None:
    asked, kept = exams(1200), journals(tmp_path)
    work = Work(model, [questions_of(exam) for exam in asked], IMAGES, PACE, Machine(2, processes=2), kept)
    killed: list[int] = []

    def kill_the_second() -> None:
        until = time.monotonic() + 120
        while not killed and time.monotonic() < until:
            for path in tmp_path.glob("*.1-*.jsonl"):
                if path.stat().st_size:
                    killed.append(int(path.stem.rpartition("-")[2]))
                    os.kill(killed[0], signal.SIGKILL)
                    return
            time.sleep(0.005)

    watcher = threading.Thread(target=kill_the_second)
    watcher.start()
    codes = answer_in_processes(work, steps=quiet)
    watcher.join()
    assert codes == [0, -signal.SIGKILL]
    before = {name: dict(journal.answers) for name, journal in journals(tmp_path).items()}
    total = sum(len(one.asks) for one in work.asked)
    assert 0 < sum(map(len, before.values())) < total
    answer_all(model, asked, IMAGES, pace=PACE, machine=Machine(2), journals=kept, steps=quiet)
    after = journals(tmp_path)
    assert all(after[name].answers[key] == answer for name, rows in before.items() for key, answer in rows.items())
    assert sum(len(journal.answers) for journal in after.values()) == total
    assert [exam.answers for exam in asked] == answered(model, tmp_path / "undisturbed", 1, number=1200)
