"""What a computing process asks of the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from components.model import machine

HELD = """
import sys, torch
from components.model.machine import keep_freed_memory
assert not int(sys.argv[1]) or keep_freed_memory()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
blocks = [torch.ones(1 << 22) for _ in range(8)]
taken = resident() - before
del blocks
print(taken, resident() - before)
"""


def taken_and_held(*, kept: bool) -> tuple[int, int]:
    """Bytes resident while eight blocks of 16 MiB live, and after they are freed, in a process of its own."""
    said = subprocess.run([sys.executable, "-c", HELD, str(int(kept))], capture_output=True, text=True, check=True)
    taken, held = map(int, said.stdout.split())
    return taken, held


# Resident bytes, not page faults: how many pages a fault brings is the kernel's choice, from run to run.
@pytest.mark.skipif(machine.platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_for_the_next_step():
    taken, held = taken_and_held(kept=True)
    assert taken >= 8 * 2**24
    assert held >= 0.9 * taken
    taken, held = taken_and_held(kept=False)
    assert taken >= 8 * 2**24
    assert held <= 0.2 * taken


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(machine.platform, "libc_ver", lambda: ("", ""))
    assert not machine.keep_freed_memory()


SHAPES = """
import sys, torch
from components.model.machine import prepare_machine
prepare_machine(1) if int(sys.argv[1]) else torch.set_num_threads(1)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
right = torch.ones(64, 64, dtype=torch.bfloat16)
def products(start, end):
    for rows in range(start, end):
        torch.ones(rows, 64, dtype=torch.bfloat16) @ right
products(1, 1201)
before = resident()
products(1201, 1601)
print(resident() - before)
"""


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="the kernels are oneDNN's")
def test_many_shapes_do_not_fill_the_memory(monkeypatch):
    monkeypatch.delenv(machine.KERNELS_KEPT, raising=False)
    grown = [
        int(
            subprocess.run([sys.executable, "-c", SHAPES, kept], capture_output=True, text=True, check=True).stdout
        )
        for kept in ("1", "0")
    ]
    assert grown[0] * 4 < grown[1]


def test_threads_are_set_and_a_chosen_number_of_kernels_stays(monkeypatch):
    monkeypatch.setattr(machine, "keep_freed_memory", lambda: True)
    monkeypatch.setenv(machine.KERNELS_KEPT, "7")
    before = torch.get_num_threads()
    machine.prepare_machine(1)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
    assert machine.os.environ[machine.KERNELS_KEPT] == "7"
