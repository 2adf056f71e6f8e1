"""Several processes answer one run: each loads the model, answers its share of the blocks, keeps its own journal.

The blocks are those of a run in one process, and each is answered whole by one process, so the answers are the
same (a CPU's threads are divided; on N devices each process has its own). Nothing is handed back but what lies in
the journals: a process that is killed loses the block it was at, and whoever goes on asks that again. A process
whose parent is gone ends at its next block.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluation.answer_journal import AnswerJournal
from components.evaluation.answering import (
    ImageFeatures,
    Machine,
    Pace,
    Questions,
    Steps,
    answer_exam,
    answer_places,
    blocks_by_kind,
    questions_of,
)
from components.evaluation.exams import Exam
from components.evaluation.placement import device_of, load_on

if TYPE_CHECKING:
    from components.model.vlm import VLM

Told = dict[Connection, BaseProcess]  # where each process tells how many questions it has answered


@dataclass(frozen=True)
class Work:
    """All that a process needs; plain values, and journals by exam's name."""

    model: Path
    asked: Sequence[Questions]
    images: Mapping[str, bytes]
    pace: Pace
    machine: Machine
    journals: Mapping[str, AnswerJournal]


def answer_all(
    model: Path,
    exams: Sequence[Exam],
    images: Mapping[str, bytes],
    *,
    pace: Pace,
    machine: Machine,
    journals: Mapping[str, AnswerJournal],
    steps: Steps,
) -> VLM:
    """Let the model answer every exam: with its own images, with another patient's, and with none; return it.

    Several processes answer first; what one of them left unanswered (it was killed) is then asked here.
    """
    import torch

    from components.evaluation import engine
    from components.model.machine import prepare_machine

    if machine.processes > 1:
        asked = [questions_of(exam) for exam in exams]
        answer_in_processes(Work(model, asked, images, pace, machine, journals), steps=steps)
    prepare_machine(machine.threads)
    device = device_of(machine.device)
    vlm = load_on(model, device, dtype=torch.bfloat16)
    with engine.inference(device):
        features = ImageFeatures(vlm, images)
        for exam in exams:
            answer_exam(vlm, exam, features, pace=pace, journal=journals[exam.benchmark.name], steps=steps)
    return vlm


def answer_in_processes(work: Work, *, steps: Steps) -> list[int]:
    """Answer what can be answered, gather it in the journals, and return the exit codes (0: ended well)."""
    number = work.machine.processes
    advance = steps(f"{number} processes", sum(len(one.asks) for one in work.asked))
    told = dict(_start(work, rank) for rank in range(number))
    processes = list(told.values())
    try:
        _listen(told, advance)
    finally:
        _end(processes)
    for journal in work.journals.values():
        journal.gather()
    for rank, process in enumerate(processes):
        if process.exitcode:
            print(f"process {rank + 1} of {number} ended early (code {process.exitcode}); its rest is asked here")
    return [process.exitcode or 0 for process in processes]


def _start(work: Work, rank: int) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads in an unknown state
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=answer_share, args=(work, rank, sender), daemon=True)
    process.start()
    sender.close()  # else the pipe would stay open when the process ends
    return receiver, process


def _listen(told: Told, advance: Callable[[int], None]) -> None:
    waiting = list(told)
    while waiting:
        for receiver in wait(waiting):
            assert isinstance(receiver, Connection)
            try:
                advance(receiver.recv())
            except EOFError:
                waiting.remove(receiver)


def _end(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.join(timeout=5)
        if process.is_alive():
            process.terminate()
            process.join()


def answer_share(work: Work, rank: int, told: Connection) -> None:
    """Answer one process's share of the blocks; runs in that process."""
    import os

    import torch

    from components.evaluation import engine
    from components.model.machine import prepare_machine

    machine, parent = work.machine, multiprocessing.parent_process()
    prepare_machine(max(1, machine.threads // machine.processes))
    device = device_of(machine.device, rank=rank)
    vlm = load_on(work.model, device, dtype=torch.bfloat16)
    with engine.inference(device):
        features = ImageFeatures(vlm, work.images)
        for asked in work.asked:
            journal = work.journals[asked.name].part(f"{rank}-{os.getpid()}")
            for block in share_of(vlm, asked, work.pace, rank=rank, number=machine.processes):
                if parent is not None and not parent.is_alive():
                    return
                answer_places(vlm, asked, block, features, pace=work.pace, journal=journal)
                told.send(len(block))


def share_of(vlm: VLM, asked: Questions, pace: Pace, *, rank: int, number: int) -> Iterator[list[int]]:
    """Deal out the blocks in turn, so that long prompts, which come first, are shared evenly."""
    for place, block in enumerate(blocks_by_kind(vlm, asked, pace)):
        if place % number == rank:
            yield block
