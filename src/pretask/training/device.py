"""Device, threads, memory and precision of this machine."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

import torch

from pretask.data.parallel import usable_cpus
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError
from pretask.options import Decision

# Parameters of mallopt(3), as <malloc.h> of glibc numbers them.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_NEVER, _PAD = 2**31 - 1, 64 * 2**20
_BF16_INSTRUCTIONS = {"AMX": "amx_bf16", "AVX512-BF16": "avx512_bf16"}
"""With which convolutions in bf16 were measured to be faster than in fp32, by their names in torch."""


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
    """Return the device for "auto", "cpu", "cuda" or "mps"; "auto" is "cuda" where there is one, else "cpu".

    Raises:
        PretaskError: another name, or no GPU where one is asked for.
    """
    if name not in ("auto", "cpu", "cuda", "mps"):
        raise PretaskError(f"unknown device '{name}': type --device auto, cpu, cuda or mps")
    if name == "mps" and not torch.backends.mps.is_available():
        raise PretaskError("torch has no GPU of a Mac (mps) here: type --device cpu, or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise PretaskError("no CUDA device is visible to torch: type --device cpu, or check the driver")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve_precision(asked: str, device: torch.device) -> str:
    """Return "fp32" or "bf16", the same on all processes, each of which must ask; see `choose_precision`."""
    # Asked for or not: a process may come late, and read in the run's folder what the first has decided.
    return found_by_first(lambda: choose_precision(device).value if asked == "auto" else asked)


def choose_precision(device: torch.device) -> Decision:
    """Return what precision "auto" is on a device, and why: by its instructions, so that it is the same every time."""
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        major, minor = torch.cuda.get_device_capability(device)
        reason = f"this GPU, of compute capability {major}.{minor}, {'has' if able else 'lacks'} bf16"
    elif device.type == "cpu":
        found = [name for name, feature in _BF16_INSTRUCTIONS.items() if _cpu_has(feature)]
        able = bool(found)
        reason = f"this CPU has {found[0] if able else 'neither ' + ' nor '.join(_BF16_INSTRUCTIONS)}"
    else:
        able, reason = False, f"the one that every {device.type} device has"
    return Decision("precision", "bf16" if able else "fp32", reason)


def _cpu_has(feature: str) -> bool:
    """Whether the CPU has some instructions, by the names of `torch.cpu.get_capabilities`."""
    if hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get(feature, False))
    # A torch without it says the same in private.
    ask = {"amx_bf16": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported"}[feature]
    return bool(getattr(torch.cpu, ask)())


def available_threads() -> int:
    """Return torch's own number of threads, but no more than the CPUs that a container leaves this process."""
    return min(torch.get_num_threads(), usable_cpus())


def free_on(device: torch.device) -> tuple[str, ...]:
    """Return the keys of a configuration that change what a run computes on other devices, but not on this one.

    On a CPU sums are shared out among threads, so that their number decides in which order the parts are added.
    """
    return () if device.type == "cpu" else ("threads",)


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
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource  # of POSIX alone

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
