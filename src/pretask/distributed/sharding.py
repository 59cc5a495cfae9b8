"""Weights that are shared out among the processes of a run, for networks that one device cannot train alone.

FSDP2 (torch's `fully_shard`): each process holds a part of every weight, of its gradient and of what the optimiser
keeps of it; a block of the network is put together when it computes, and given up after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

SMALLEST_BLOCK = 0.01
"""Share of a network's weights from which a block is put together and given up by itself."""


def shard_weights(method: nn.Module, network: nn.Module, device: torch.device) -> None:
    """Share the weights of a method out among all processes, where it stands; its parts go to the device on the way.

    Every process must hold the same weights, and calls the method itself, or parts of it within its `forward`.

    Args:
        method: on the CPU, so that the device never holds it whole.
        network: the part of it that is put together block by block.
        device: of this process.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(method, mesh=mesh)


def blocks(network: nn.Module) -> list[nn.Module]:
    """Return the smallest parts of a network that are called one after the other, each with enough weights of its own.

    A block is a module with parts in a `Sequential`, a `ModuleList`, or a module all of whose parts are of one class:
    there it is called as a whole, while a leaf's weights may be read by the module around it.
    """
    least = SMALLEST_BLOCK * sum(weight.numel() for weight in network.parameters())
    taken: list[nn.Module] = []

    def visit(module: nn.Module) -> int:
        """Collect the blocks below a module, and return how many of its weights are in none of them."""
        left = sum(weight.numel() for weight in module.parameters(recurse=False))
        in_line = _in_line(module)
        for part in module.children():
            of_part = visit(part)
            if in_line and of_part >= least and any(part.children()) and not isinstance(part, nn.ModuleList):
                taken.append(part)
            else:
                left += of_part
        return left

    visit(network)
    return taken


def _in_line(module: nn.Module) -> bool:
    """Whether a module's parts are called one after the other."""
    parts = list(module.children())
    return isinstance(module, nn.Sequential | nn.ModuleList) or (
        len(parts) > 1 and len({*map(type, parts)}) == 1
    )


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor that may be shared out, whole; every process must ask."""
    return tensor.full_tensor() if _is_shared(tensor) else tensor


def is_sharded(module: nn.Module) -> TypeGuard[FSDPModule]:
    """Whether a module's weights are sharded, judged by its methods: importing torch's class takes a second."""
    return hasattr(module, "set_requires_gradient_sync")


def _is_shared(value: Any) -> TypeGuard[DTensor]:
    return isinstance(value, Tensor) and hasattr(value, "full_tensor")


def gathered(tree: Any, keep: bool) -> Any:
    """Return a tree of dicts, lists and tuples with every shared-out tensor whole and on the CPU.

    Every process must call this with trees of one shape.

    Args:
        tree: its leaves may be anything.
        keep: whether this process wants the whole tensors; else None takes their places.
    """
    if _is_shared(tree):
        whole = whole_tensor(tree)
        return whole.cpu() if keep else None
    if isinstance(tree, dict):
        return {key: gathered(value, keep) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(gathered(value, keep) for value in tree)
    return tree


def shared_like(whole: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a tensor that all processes hold whole, as `like` is shared out, or it itself."""
    if not _is_shared(like):
        return whole
    from torch.distributed.tensor import distribute_tensor

    there = whole.to(like.device)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def load_whole(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Put a whole state into a module whose weights may be shared out; raises as `load_state_dict` does."""
    own = module.state_dict()
    module.load_state_dict(
        {name: shared_like(value, own[name]) if name in own else value for name, value in state.items()}
    )
