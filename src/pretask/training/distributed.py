"""Several processes as one: batch statistics over all ranks, and decisions that all ranks take alike."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pretask.methods.ranks import gather_over_ranks


class GlobalBatchNorm(_BatchNorm):
    """Batch normalisation over the union of all ranks' batches, on any backend.

    torch's SyncBatchNorm does the same on GPUs only. Ranks must hold batches of one size.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take features [B, C] and maps [B, C, H, W] alike."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C] or [B, C, H, W]."""
        if not self.training:
            evaluated: Tensor = super().forward(x)
            return evaluated
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x  # statistics need the digits
        variance, mean = self._moments(wide)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        self._track(mean.detach(), variance.detach() * count / max(1, count - 1))
        centred, scale = wide - _per_channel(mean, x), (variance + self.eps).rsqrt()
        if self.affine:
            scaled = centred * _per_channel(scale * self.weight, x) + _per_channel(self.bias, x)
        else:
            scaled = centred * _per_channel(scale, x)
        return scaled.to(x.dtype)

    @staticmethod
    def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
        """Return variance and mean [C] over all ranks, from those of each, in one exchange.

        Variances and squared distances of means are added, which loses no digits as squares of values would.
        """
        own = torch.stack(torch.var_mean(x, [0, *range(2, x.dim())], correction=0))
        variances, means = gather_over_ranks(own[None]).unbind(1)
        mean = means.mean(0)
        return variances.mean(0) + (means - mean).square().mean(0), mean

    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), momentum)


def share_batch_statistics(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch normalisation of features or maps by one over all ranks; names of weights stay."""
    if device.type == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm  # also knows timm's fused layers

        converted: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for name, child in module.named_children():
        if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
            assert isinstance(child, _BatchNorm)
            setattr(module, name, _global_copy(child))
        else:
            share_batch_statistics(child, device)
    return module


class Agreement:
    """Decisions of all ranks: yes where one of them says yes.

    Clocks and signals differ between ranks; one that stopped or saved alone would wait for the others for ever.
    Every rank must make one, and ask it the same questions. Only hosts talk; no device is waited for.
    """

    def __init__(self) -> None:
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self._hosts: Any = dist.new_group(backend="gloo") if several else None

    def __call__(self, *own: bool) -> tuple[bool, ...]:
        """Return what is decided on each question, given this rank's answers."""
        if self._hosts is None:
            return own
        votes = torch.tensor(own, dtype=torch.uint8)
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self._hosts)
        return tuple(bool(vote) for vote in votes.tolist())


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 2))


def _global_copy(norm: _BatchNorm) -> GlobalBatchNorm:
    copy = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    state = norm.running_mean if norm.running_mean is not None else norm.weight
    copy = copy.to(state.device, state.dtype).train(norm.training)
    copy.load_state_dict(norm.state_dict())
    for mine, theirs in zip(copy.parameters(), norm.parameters(), strict=True):
        mine.requires_grad_(theirs.requires_grad)
    copy._forward_hooks = norm._forward_hooks
    return copy
