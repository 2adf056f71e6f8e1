"""What a computing process asks of the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from components.model import machine

STEP = """
import resource, sys, torch
from components.model.machine import keep_freed_memory
assert not int(sys.argv[1]) or keep_freed_memory()
def step():
    return [torch.ones(1 << 22) for _ in range(8)]
step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_in_steps(*, kept: bool) -> int:
    """Page faults of five equal steps in a process of its own."""
    said = subprocess.run([sys.executable, "-c", STEP, str(int(kept))], capture_output=True, text=True, check=True)
    return int(said.stdout)


@pytest.mark.skipif(machine.platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_kept_memory_is_not_asked_of_the_kernel_again():
    assert faults_in_steps(kept=True) * 10 < faults_in_steps(kept=False)


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(machine.platform, "libc_ver", lambda: ("", ""))
    assert not machine.keep_freed_memory()


def test_threads_are_set(monkeypatch):
    monkeypatch.setattr(machine, "keep_freed_memory", lambda: True)
    before = torch.get_num_threads()
    machine.prepare_machine(1)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
