"""Several processes as one: batch statistics over all ranks, and decisions that all ranks take alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from pretask.distributed.gathering import several_ranks
from pretask.errors import PretaskError

T = TypeVar("T")


class _Normalize(Function):
    """Batch normalisation by the moments of all ranks' values; one exchange forwards, and one backwards.

    Returns the normalised values, and mean and variance [C], which carry no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, own_mean, own_scale = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        means, variances = _of_ranks(torch.stack((own_mean, own_scale.square().reciprocal() - eps)))
        # Variances and squared distances of means are added: sums of squares would lose digits.
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        out: Tensor = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, variance = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        # So far mean and variance stood still; they follow the values of all ranks.
        total_weight, total_bias = _of_ranks(torch.stack((of_weight, of_bias))).sum(1)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        scale = (variance + ctx.eps).rsqrt()
        slope = weight * scale.square() * total_weight / count
        offset = weight * scale * total_bias / count
        # The normalisation as a kernel for slope · (x - mean) + offset, which takes low precision without copies.
        of_x -= torch.native_batch_norm(x, slope, offset, mean, torch.ones_like(mean), False, 0.0, 0.0)[0]
        return of_x, of_weight, of_bias, None


def _of_ranks(own: Tensor) -> Tensor:
    """Return [2, W, C]: the pairs [2, C] of all ranks; gloo gathers so few numbers sooner than it adds them up."""
    of_ranks = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(of_ranks, own)
    return torch.stack(of_ranks, 1)


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
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if not self.affine:
            wide = torch.promote_types(x.dtype, torch.float32)
            weight, bias = (x.new_full((self.num_features,), value, dtype=wide) for value in (1.0, 0.0))
        out: Tensor
        out, mean, variance = _Normalize.apply(x, weight, bias, self.eps)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        self._track(mean, variance * count / max(1, count - 1))
        return out

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
        from timm.layers import convert_sync_batchnorm  # also knows timm's fused layers

        converted: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for name, child in module.named_children():
        if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
            assert isinstance(child, _BatchNorm)
            setattr(module, name, _global_copy(child))
        else:
            share_batch_statistics(child, device)
    return module


def found_by_first(find: Callable[[], T]) -> T:
    """Return what the first process finds, on all; every process must ask.

    For what may turn out otherwise from process to process: what its CPU has, what another's server says just now.

    Raises:
        PretaskError: the first process's, on all.
    """
    if not several_ranks():
        return find()
    answer: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            answer = [find(), None]
        except PretaskError as fault:
            answer = [None, fault]
    dist.broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    found: T = answer[0]
    return found


class Agreement:
    """Decisions of all ranks: yes where one of them says yes.

    Clocks and signals differ between ranks; one that stopped or saved alone would wait for the others for ever.
    Every rank must make one, and ask it the same questions. Only hosts talk; no device is waited for.
    """

    def __init__(self) -> None:
        self._hosts: Any = dist.new_group(backend="gloo") if several_ranks() else None

    def __call__(self, *own: bool) -> tuple[bool, ...]:
        """Return what is decided on each question, given this rank's answers."""
        if self._hosts is None:
            return own
        votes = torch.tensor(own, dtype=torch.uint8)
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self._hosts)
        return tuple(bool(vote) for vote in votes.tolist())


def _global_copy(norm: _BatchNorm) -> GlobalBatchNorm:
    copy = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    state = norm.running_mean if norm.running_mean is not None else norm.weight
    copy = copy.to(state.device, state.dtype).train(norm.training)
    copy.load_state_dict(norm.state_dict())
    for mine, theirs in zip(copy.parameters(), norm.parameters(), strict=True):
        mine.requires_grad_(theirs.requires_grad)
    copy._forward_hooks = norm._forward_hooks
    return copy
