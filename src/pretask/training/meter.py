"""Means of a step's parts over an epoch, summed on the device and read seldom."""

from __future__ import annotations

import torch
from torch import Tensor


class Meter:
    """Sums named scalar tensors; nothing is read from the device before `means`."""

    def __init__(self) -> None:
        self.steps = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, parts: dict[str, Tensor]) -> None:
        """Add the parts of one step."""
        self.steps += 1
        for name, value in parts.items():
            value = value.detach().float()
            # A copy: the tensor of a step that is replayed is overwritten by the next one.
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()

    def means(self) -> dict[str, float]:
        """Return the mean of each part so far. This waits for the device."""
        if not self.sums:
            return {}
        values = torch.stack(list(self.sums.values())) / self.steps
        return dict(zip(self.sums, values.tolist(), strict=True))

    def state(self) -> dict[str, object]:
        """Return the sums as a tree for a checkpoint."""
        return {"steps": self.steps, "sums": self.sums}

    @classmethod
    def restored(cls, state: dict[str, object], device: torch.device) -> Meter:
        """Return a meter that goes on from `state`."""
        meter = cls()
        meter.steps = int(str(state["steps"]))
        sums = state["sums"]
        assert isinstance(sums, dict)
        meter.sums = {name: value.to(device) for name, value in sums.items()}
        return meter
