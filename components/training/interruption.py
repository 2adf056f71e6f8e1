"""The signals that ask a stage to leave, from the top of the command to its end.

SIGTERM (a scheduler that wants the machine back) and SIGUSR1 (SLURM, some time before the limit) mean: leave with
the code that says "run me again" (75, EX_TEMPFAIL of sysexits.h). Where no optimiser step is running (loading,
hashing, initialisation, validation) the process leaves at once; the last checkpoint is what the next start goes on
from. Between the first step and the last the signal is only noted, and the keeper obeys it after the running step,
on every rank, with a checkpoint. Lightning's own handlers are not set: they would requeue the job themselves, or
talk to the other ranks in the middle of a step.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import lightning.pytorch as lightning
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from components.errors import TRY_AGAIN

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequests:
    """Whether this process was asked to leave, and whether it may do so at once."""

    def __init__(self) -> None:
        self.asked = 0
        self._is_stepping, self._is_leaving, self._process = False, False, os.getpid()

    @contextmanager
    def heard(self) -> Generator[None]:
        """Listen to the signals; on the way out the handlers of before are back."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def begin_steps(self) -> None:
        """From here on signals are only noted."""
        self.leave_if_asked()
        self._is_stepping = True

    def end_steps(self) -> None:
        """From here on a signal ends the process where it is."""
        self._is_stepping = False

    def leave_if_asked(self) -> None:
        """Leave when a signal was noted: an exception raised inside a destructor is lost, the note is not."""
        if self.asked:
            self.leave()

    def leave(self) -> NoReturn:
        """Leave with the requeue code; signals that follow do not disturb what is put right on the way out."""
        self._is_leaving = True
        raise SystemExit(TRY_AGAIN)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a child that was forked a moment ago: it ends with its parent
        self.asked = number
        if not (self._is_stepping or self._is_leaving):
            self.leave()


class NoHandlers(_SignalConnector):
    """Lightning's place for signal handlers, left empty."""

    def register_signal_handlers(self) -> None:
        """Leave the handlers that stand."""
        self.received_sigterm = False


def without_handlers(trainer: lightning.Trainer) -> lightning.Trainer:
    """Return a trainer that sets no signal handler."""
    trainer._signal_connector = NoHandlers(trainer)
    return trainer


def scheduler_plugins() -> list[SLURMEnvironment]:
    """Return SLURM's environment without Lightning's own requeueing, where this process runs under srun."""
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        return [SLURMEnvironment(auto_requeue=False)]
    return []
