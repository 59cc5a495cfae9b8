"""What processes of one run could find otherwise each for itself: the first one's answer is that of all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pretask import configure
from pretask.config.sections import SessionConfig
from pretask.distributed.processes import found_by_first
from pretask.errors import PretaskError
from pretask.tasks.run import join_processes
from pretask.training import data, device
from ranks import run_ranks

CPU = torch.device("cpu")


def decide_on_rank(rank: int, world: int, folder: Path) -> None:
    asked = []

    def has(feature: str) -> bool:
        asked.append(feature)
        return rank == 0

    device._cpu_has = has
    assert device.resolve_precision("auto", CPU) == "bf16"
    assert bool(asked) == (rank == 0)
    # A process that comes late asks for what the first has decided, and written into the run's folder.
    assert device.resolve_precision("auto" if rank == 0 else "bf16", CPU) == "bf16"


def test_precision_is_decided_by_the_first_process_alone(tmp_path: Path) -> None:
    run_ranks(decide_on_rank, 2, tmp_path)


@pytest.mark.parametrize(
    ("instructions", "precision", "reason"),
    [
        (("amx_bf16", "avx512_bf16"), "bf16", "this CPU has AMX"),
        (("avx512_bf16",), "bf16", "this CPU has AVX512-BF16"),
        ((), "fp32", "this CPU has neither AMX nor AVX512-BF16"),
    ],
)
def test_precision_follows_the_instructions_of_the_cpu(
    instructions: tuple[str, ...], precision: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_cpu_has", instructions.__contains__)
    found = device.choose_precision(CPU)
    assert (found.value, found.reason) == (precision, reason)


@pytest.mark.parametrize("public", [True, False])
def test_torch_is_asked_what_the_cpu_has(public: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"amx_bf16": device._cpu_has("amx_bf16"), "avx512_bf16": device._cpu_has("avx512_bf16")}
    if not public:
        monkeypatch.delattr(torch.cpu, "get_capabilities")
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: asked["amx_bf16"])
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: asked["avx512_bf16"])
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    for feature, found in asked.items():
        assert device._cpu_has(feature) is found
        if "flags" in flags:
            assert (feature in flags) == found


@pytest.mark.parametrize(
    ("capability", "able", "line"),
    [
        ((9, 0), True, "precision bf16: this GPU, of compute capability 9.0, has bf16"),
        ((7, 5), False, "precision fp32: this GPU, of compute capability 7.5, lacks bf16"),
    ],
)
def test_precision_follows_the_gpu(
    capability: tuple[int, int], able: bool, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where: capability)
    assert device.choose_precision(torch.device("cuda")).line() == line


def test_the_gpu_of_a_mac_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.resolve_device("mps").type == "mps"
    assert device.choose_precision(torch.device("mps")).value == "fp32"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(PretaskError, match=r"no GPU of a Mac \(mps\) here: type --device cpu"):
        device.resolve_device("mps")


def look_up_on_rank(rank: int, world: int, folder: Path) -> None:
    data.fixed_source = lambda source: f"{source}@{rank}"
    config = configure({"data": "hf://datasets/owner/pets"})
    assert data.fix_version(config).data.data == "hf://datasets/owner/pets@0"


def test_the_commit_is_looked_up_once(tmp_path: Path) -> None:
    run_ranks(look_up_on_rank, 2, tmp_path)


def fail_on_rank(rank: int, world: int, folder: Path) -> None:
    def find() -> str:
        raise PretaskError(f"rank {rank} has no network")

    with pytest.raises(PretaskError, match="rank 0 has no network"):
        found_by_first(find)
    dist.barrier()


def test_a_fault_of_the_first_is_that_of_all(tmp_path: Path) -> None:
    run_ranks(fail_on_rank, 2, tmp_path)


def profile_on_rank(rank: int, world: int, folder: Path) -> None:
    with pytest.raises(PretaskError, match="--profile looks at one process"):
        join_processes(SessionConfig(device="cpu", threads=1, profile=2))


def test_several_processes_on_a_cpu_are_not_profiled(tmp_path: Path) -> None:
    run_ranks(profile_on_rank, 2, tmp_path)
