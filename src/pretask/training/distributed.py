"""Several processes as one: batch statistics over all ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pretask.methods.ranks import sum_over_ranks


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the union of all ranks' batches, on any backend.

    torch's SyncBatchNorm does the same on GPUs only. Ranks must hold batches of one size.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, H, W]."""
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = sum_over_ranks(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = sum_over_ranks(centred.square().sum((0, 2, 3))) / count
        self._track(mean.detach(), variance.detach() * count / max(1, count - 1))
        scale = (variance + self.eps).rsqrt() * self.weight
        return centred * scale[:, None, None] + self.bias[:, None, None]

    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), momentum)


def share_batch_statistics(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace every 2-D batch normalisation by one over all ranks; names of weights stay."""
    if device.type == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm  # also knows timm's fused layers

        converted: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(module, name, _global_copy(child))
        else:
            share_batch_statistics(child, device)
    return module


def _global_copy(norm: nn.BatchNorm2d) -> GlobalBatchNorm2d:
    copy = GlobalBatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    copy = copy.to(norm.weight.device, norm.weight.dtype).train(norm.training)
    copy.load_state_dict(norm.state_dict())
    copy._forward_hooks = norm._forward_hooks
    return copy
