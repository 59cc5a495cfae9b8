"""Weights that are shared out among the processes of a run, for networks that one device cannot train alone.

FSDP2 (torch's `fully_shard`): each process holds a part of every weight, of its gradient and of what the optimiser
keeps of it; a block of the network is put together when it computes, and given up after it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pretask.methods import Trainee

SMALLEST_BLOCK = 0.01
"""Share of a network's weights from which a block is put together and given up by itself."""


def shard_weights(method: Trainee, device: torch.device, half: bool) -> None:
    """Share the weights of a method out among all processes, where it stands; its parts go to the device on the way.

    Every process must hold the same weights, and calls the method itself, or parts of it within its `forward`.

    Args:
        method: on the CPU, so that the device never holds it whole.
        device: of this process.
        half: whether autocast is at work: blocks are then put together in bfloat16 at once, or it would keep copies of
            all of them for the backward pass. Not so blocks with batch normalisation, which wants its weights in
            float32. Gradients are added up in float32.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    low = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for block in blocks(method.backbone):
        lowered = half and not any(isinstance(part, _BatchNorm) for part in block.modules())
        fully_shard(block, mesh=mesh, mp_policy=low if lowered else MixedPrecisionPolicy())
    fully_shard(method, mesh=mesh)


def blocks(network: nn.Module) -> list[nn.Module]:
    """Return the smallest parts of a network that are called one after the other, each with enough weights of its own.

    A block is an item of a `Sequential` or `ModuleList` that has parts itself: such an item is called as a whole,
    while a leaf's weights may be read by the module around it.
    """
    least = SMALLEST_BLOCK * _size(network)
    taken: list[nn.Module] = []

    def visit(module: nn.Module) -> int:
        """Collect the blocks below a module, and return how many of its weights are in none of them."""
        left = sum(weight.numel() for weight in module.parameters(recurse=False))
        for part in module.children():
            of_part = visit(part)
            listed = isinstance(module, nn.Sequential | nn.ModuleList)
            if listed and of_part >= least and any(part.children()) and not isinstance(part, nn.ModuleList):
                taken.append(part)
            else:
                left += of_part
        return left

    visit(network)
    return taken


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor that may be shared out, whole; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tree: Any, keep: bool) -> Any:
    """Return a tree of dicts, lists and tuples with every shared-out tensor whole and on the CPU.

    Every process must call this with trees of one shape.

    Args:
        tree: its leaves may be anything.
        keep: whether this process wants the whole tensors; else None takes their places.
    """
    if isinstance(tree, DTensor):
        whole = whole_tensor(tree)
        return whole.cpu() if keep else None
    if isinstance(tree, dict):
        return {key: gathered(value, keep) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(gathered(value, keep) for value in tree)
    return tree


def shared_like(whole: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a tensor that all processes hold whole, as `like` is shared out, or it itself."""
    if not isinstance(like, DTensor):
        return whole
    there = whole.to(like.device)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def load_whole(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Put a whole state into a module whose weights may be shared out; raises as `load_state_dict` does."""
    own = module.state_dict()
    module.load_state_dict(
        {name: shared_like(value, own[name]) if name in own else value for name, value in state.items()}
    )


def _size(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
