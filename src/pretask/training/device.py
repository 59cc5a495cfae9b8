"""Device, threads, memory and precision of this machine."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
import time
from pathlib import Path

import torch
from torch import nn

from pretask.data.parallel import usable_cpus
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError

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


def resolve_device(name: str) -> torch.device:
    """Return the device for "auto", "cpu" or "cuda".

    Raises:
        PretaskError: another name, or no GPU where one is asked for.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise PretaskError(f"unknown device '{name}': type --device auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise PretaskError("no CUDA device is visible to torch: type --device cpu, or check the driver")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve_precision(asked: str, device: torch.device) -> str:
    """Return "fp32" or "bf16", the same on all processes, each of which must ask.

    "auto" takes bf16 where a short timing finds it at least 1.2 times as fast.
    """
    # Asked for or not: a process may come late, and read in the run's folder what the first has decided.
    return found_by_first(lambda: _precision(asked, device))


def _precision(asked: str, device: torch.device) -> str:
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    seconds = _conv_seconds(torch.float32, torch.bfloat16)
    return "bf16" if seconds[torch.float32] > 1.2 * seconds[torch.bfloat16] else "fp32"


def _conv_seconds(*dtypes: torch.dtype) -> dict[torch.dtype, float]:
    """Return the shortest time of a convolution in each precision, in turn, so that other work hinders all alike."""
    pieces = {}
    for dtype in dtypes:
        images = torch.zeros(16, 32, 16, 16, dtype=dtype).contiguous(memory_format=torch.channels_last)
        pieces[dtype] = nn.Conv2d(32, 32, 3, padding=1, bias=False).to(dtype), images
    best = dict.fromkeys(dtypes, float("inf"))
    with torch.no_grad():
        for _ in range(12):
            for dtype, (conv, images) in pieces.items():
                start = time.perf_counter()
                conv(images)
                best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best


def available_threads() -> int:
    """Return torch's own number of threads, but no more than the CPUs that a container leaves this process."""
    return min(torch.get_num_threads(), usable_cpus())


def prepare_host(threads: int | None, device: torch.device) -> None:
    """Set the number of threads, `available_threads` where none is given, and what keeps the CPU fast."""
    torch.set_num_threads(available_threads() if threads is None else threads)
    if device.type == "cpu":
        # Weights that decay to denormal numbers slow the CPU several times over.
        torch.set_flush_denormal(True)
        keep_freed_memory()


def process_started() -> float:
    """Return when this process began, as `time.time` has it."""
    import psutil

    return float(psutil.Process().create_time())


def free_memory(device: torch.device) -> int:
    """Return the bytes that this process can still take: of the GPU on a GPU; else of the machine and its limits."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    room = [int(psutil.virtual_memory().available), *_control_group_room()]
    process = psutil.Process()
    if hasattr(process, "rlimit"):  # Linux
        used = process.memory_info()
        for limit, now in ((psutil.RLIMIT_AS, used.vms), (psutil.RLIMIT_DATA, used.data)):
            most = process.rlimit(limit)[0]
            if most not in (psutil.RLIM_INFINITY, -1):
                room.append(most - now)
    return max(0, min(room))


def _control_group_room() -> list[int]:
    """Return what the control groups of this process, such as a container's, leave it in bytes; Linux only.

    Memory that holds files can be given back, so it counts as free.
    """
    groups = Path("/proc/self/cgroup")
    room = []
    for line in groups.read_text().splitlines() if groups.is_file() else []:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            top, limit, used, cached = Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, used = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        group = top / place.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            try:
                most, now = (folder / limit).read_text().strip(), int((folder / used).read_text())
                stat = dict(pair.split() for pair in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):
                continue
            if most != "max":
                room.append(int(most) - now + int(stat.get(cached, 0)))
    return room


def peak_memory(device: torch.device) -> int:
    """Return the largest memory this process has used, in bytes: of the GPU on a GPU, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def hardware(device: torch.device) -> dict[str, str | int]:
    """Return what the run computes on, for reports."""
    facts: dict[str, str | int] = {"processor": _cpu_name(), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
