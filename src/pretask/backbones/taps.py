"""Places inside a network where a layer's output can be changed on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from pretask.errors import PretaskError

Change = Callable[[Tensor], Tensor]


class Tap:
    """Changes what one layer puts out, while `change` is set; otherwise the network is as it was.

    A forward hook, so that names of weights stay and `torch.compile` traces through it.

    Args:
        layer: the module whose output is to be changed.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.change: Change | None = None
        layer.register_forward_hook(self._hook)

    @contextmanager
    def changing(self, change: Change) -> Iterator[None]:
        """Change the layer's output by `change` in the block, and no longer."""
        self.change = change
        try:
            yield
        finally:
            self.change = None

    def _hook(self, layer: nn.Module, inputs: Any, output: Any) -> Any:
        return output if self.change is None else self.change(output)


def find_layer(network: nn.Module, layer: str, owner: str) -> nn.Module:
    """Return the module called `layer`, as `named_modules` has it.

    Raises:
        PretaskError: there is none; the nearest names are told.
    """
    layers: dict[str, nn.Module] = {name: module for name, module in network.named_modules() if name}
    if layer in layers:
        return layers[layer]
    near = get_close_matches(layer, layers, n=4, cutoff=0.4) or list(dict(network.named_children()))
    raise PretaskError(f"{owner} has no layer '{layer}': type --layer with a name such as {', '.join(near)}")
