"""Processes that work as ranks on gloo, for tests."""

from __future__ import annotations

import faulthandler
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch._dynamo  # each rank would import it with its first optimiser
import torch.distributed as dist
import torch.distributed.fsdp
import torch.distributed.tensor
import torch.multiprocessing as mp
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor

Work = Callable[[int, int, Path], None]
"""Takes rank, number of ranks, and a folder for what it finds."""


def run_ranks(work: Work, world: int, folder: Path) -> Path:
    """Run `work`, a function of a module, on so many ranks of one thread each; return the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked where that works, or each rank would import for seconds; with one thread no pool of threads is lost.
    mp.start_processes(_begin, args=(work, world, port, folder), nprocs=world, start_method=start_method())
    return folder


def start_method() -> str:
    """Return "fork", or "spawn" where autograd's threads are at work in this process, as after a compiled step."""
    probe = mp.get_context("fork").Process(target=_try_backward)
    probe.start()
    probe.join()
    return "fork" if probe.exitcode == 0 else "spawn"


def _try_backward() -> None:
    faulthandler.disable()
    try:
        torch.ones(2, requires_grad=True).sum().backward()
    except RuntimeError:
        os._exit(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute as ranks do: sums in parallel have other last bits, and small ones wait for their threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_equal_on_all(found: Iterable[Tensor]) -> None:
    """Check that all ranks found the same, bit for bit."""
    mine = torch.cat([value.detach().flatten().double() for value in found])
    of_ranks = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(of_ranks, mine)
    assert all(torch.equal(other, mine) for other in of_ranks), "ranks differ"


def _begin(rank: int, work: Work, world: int, port: int, folder: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    PartialState._reset_state()  # which the parent may have: of one process
    AcceleratorState._reset_state()
    dist.init_process_group("gloo", rank=rank, world_size=world)
    work(rank, world, folder)
    dist.barrier()
    dist.destroy_process_group()
