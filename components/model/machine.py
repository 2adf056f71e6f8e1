"""What a process that computes on this machine sets first: its threads, and memory that is kept for the next step.

glibc hands large blocks back to the kernel as soon as they are free, and the next step's blocks come back as pages
to be zeroed: a step of the default preset met 150,000 page faults, and 15 % of its time. oneDNN keeps a compiled
kernel with its scratch for each shape it meets, 1,024 of them, and packs have many lengths: 57 MB more a step
after 32 steps; with 64 kernels the process stays at its size from the twelfth step on. Nothing computed changes.
"""

from __future__ import annotations

import ctypes
import os
import platform

import torch

# Names and numbers of glibc's malloc.h; https://man7.org/linux/man-pages/man3/mallopt.3.html
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
# https://uxlfoundation.github.io/oneDNN/dev_guide_primitive_cache.html
KERNELS_KEPT = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
NEVER = -1  # as a size it is the largest
GROWTH_BYTES = 256 << 20


def prepare_machine(threads: int) -> None:
    """Compute on `threads` threads, keep few kernels, and keep freed memory where that can be asked for.

    Before the process's first matrix product: oneDNN reads its variable once. One that is set already stays.
    """
    os.environ.setdefault(KERNELS_KEPT, "64")
    torch.set_num_threads(threads)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed; return whether it agreed (False: another C library)."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, GROWTH_BYTES))
    return all(bool(mallopt(name, value)) for name, value in wanted)
