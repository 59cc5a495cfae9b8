"""Where the time of the first steps of a training goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from pretask.data.loaders.batches import Batch
from pretask.io.files import write_atomically

FOLDER = "profile"
PHASES = ("batch", "forward", "backward", "update")
_ROWS = 25


class StepProfile:
    """Profiles the first steps of a training, and writes a trace and a table into the run folder.

    `profile/trace.json` is for Perfetto or chrome://tracing; `profile/table.txt` shows the share of each phase of a
    step and the most expensive operations.

    Args:
        steps: how many; 0 profiles nothing and costs nothing.
        folder: of the run.
        device: whose work counts.
    """

    def __init__(self, steps: int, folder: Path, device: torch.device) -> None:
        self._left, self._steps, self._folder, self._device = steps, steps, folder / FOLDER, device
        self._profile: profile | None = None

    def __enter__(self) -> StepProfile:
        if self._left:
            activities = [ProfilerActivity.CPU]
            if self._device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profile = profile(activities=activities)
            self._profile.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def phase(self, name: str) -> AbstractContextManager[Any]:
        """Return a context in which the time belongs to one of `PHASES`."""
        return nullcontext() if self._profile is None else record_function(name)

    def batches(self, epoch: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches of an epoch; the time until each is there belongs to the phase "batch"."""
        source = iter(epoch)
        while True:
            with self.phase("batch"):
                batch = next(source, None)
            if batch is None:
                return
            yield batch

    def step(self) -> None:
        """Count a step that has ended."""
        if self._profile is not None:
            self._left -= 1
            if not self._left:
                self._stop()

    def _stop(self) -> None:
        found, self._profile = self._profile, None
        if found is None:
            return
        found.stop()
        done = self._steps - self._left
        write_atomically(self._folder / "trace.json", lambda path: found.export_chrome_trace(str(path)))
        text = self._table(found, done)
        write_atomically(self._folder / "table.txt", lambda path: path.write_text(text))

    def _table(self, found: profile, steps: int) -> str:
        events = found.key_averages()
        phases = {event.key: event.cpu_time_total for event in events if event.key in PHASES}
        whole = max(sum(phases.values()), 1e-9)
        lines = [f"{steps} steps; the host's time by phase of a step:"]
        lines += [
            f"  {name:<9} {phases[name] / 1000 / max(steps, 1):8.2f} ms  {100 * phases[name] / whole:5.1f} %"
            for name in PHASES
            if name in phases
        ]
        by = "self_cuda_time_total" if self._device.type == "cuda" else "self_cpu_time_total"
        return "\n".join([*lines, "", str(events.table(sort_by=by, row_limit=_ROWS)), ""])
