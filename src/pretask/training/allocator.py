"""How the C library hands out memory to a training on the processor."""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of mallopt(3), as <malloc.h> of glibc numbers them.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_NEVER, _PAD = 2**31 - 1, 64 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for the next tensor of the same size.

    By default glibc asks the kernel for every large tensor anew and gives it back at once, and the kernel clears each
    page again: a training step makes hundreds of such tensors. The process holds on to the most that it ever used.

    Returns:
        Whether it was set: not where the user has chosen by glibc's `MALLOC_…` variables, nor with another C library.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # One arena, since those of other threads, such as the one that runs the backward pass, give back all the same.
    choices = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _PAD), (_M_ARENA_MAX, 1))
    return all(mallopt(key, value) == 1 for key, value in choices)
