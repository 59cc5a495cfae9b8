"""Which operations a program from a file may be made of: those of networks that classify, which check their sizes.

Others, such as those on sparse tensors, take indices of memory as they are given.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

_NAMES = """
__and__.Tensor _assert_scalar.default _assert_tensor_metadata.default _to_copy.default alias.default clone.default
contiguous.default detach.default detach_.default dropout.default dropout_.default feature_dropout.default
lift_fresh_copy.default sym_size.int to.device to.dtype to.dtype_layout to.other type_as.default

cat.default channel_shuffle.default chunk.default concat.default diag_embed.default diagonal.default expand.default
expand_as.default flatten.using_ints flip.default meshgrid.default meshgrid.indexing movedim.int movedim.intlist
narrow.default permute.default pixel_shuffle.default pixel_unshuffle.default repeat.default
repeat_interleave.self_int reshape.default reshape_as.default roll.default rot90.default select.int slice.Tensor
split.Tensor split_with_sizes.default squeeze.default squeeze.dim squeeze.dims stack.default t.default tile.default
transpose.int unbind.int unflatten.int unfold.default unsqueeze.default view.default view_as.default

abs.default add.Scalar add.Tensor add_.Scalar add_.Tensor addcdiv.default addcmul.default bitwise_and.Tensor
bitwise_not.default bitwise_or.Tensor ceil.default clamp.default clamp_.default clamp_max.default clamp_min.default
clamp_min_.default cos.default div.Scalar div.Scalar_mode div.Tensor div.Tensor_mode div_.Scalar div_.Tensor
eq.Scalar eq.Tensor erf.default exp.default exp_.default floor.default floor_divide.default ge.Scalar ge.Tensor
gt.Scalar gt.Tensor le.Scalar le.Tensor lerp.Scalar log.default log1p.default logical_and.default
logical_not.default logical_or.default lt.Scalar lt.Tensor masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar
maximum.default minimum.default mul.Scalar mul.Tensor mul_.Scalar mul_.Tensor ne.Scalar ne.Tensor neg.default
pow.Scalar pow.Tensor_Scalar pow.Tensor_Tensor reciprocal.default remainder.Scalar remainder.Tensor round.default
rsqrt.default rsub.Scalar sign.default sin.default sqrt.default square.default sub.Scalar sub.Tensor sub_.Scalar
sub_.Tensor where.ScalarOther where.ScalarSelf where.self

amax.default amin.default argmax.default cumsum.default linalg_vector_norm.default log_softmax.int logsumexp.default
max.default max.dim mean.default mean.dim min.default min.dim norm.ScalarOpt_dim prod.dim_int softmax.int
std.correction std.dim sum.default sum.dim_IntList topk.default var.correction var.dim var_mean.correction

addmm.default baddbmm.default bmm.default einsum.default linear.default matmul.default mm.default
scaled_dot_product_attention.default

_upsample_bicubic2d_aa.default _upsample_bicubic2d_aa.vec _upsample_bilinear2d_aa.default
_upsample_bilinear2d_aa.vec adaptive_avg_pool1d.default adaptive_avg_pool2d.default adaptive_max_pool2d.default
avg_pool1d.default avg_pool2d.default batch_norm.default col2im.default constant_pad_nd.default conv1d.default
conv2d.default conv2d.padding conv3d.default conv_transpose2d.input group_norm.default im2col.default
instance_norm.default layer_norm.default max_pool1d.default max_pool2d.default max_pool2d_with_indices.default
pad.default reflection_pad2d.default replication_pad2d.default rms_norm.default upsample_bicubic2d.default
upsample_bicubic2d.vec upsample_bilinear2d.default upsample_bilinear2d.vec upsample_linear1d.vec
upsample_nearest2d.default upsample_nearest2d.vec

celu.default elu.default elu_.default gelu.default gelu_.default glu.default hardsigmoid.default
hardsigmoid_.default hardswish.default hardswish_.default hardtanh.default hardtanh_.default leaky_relu.default
leaky_relu_.default log_sigmoid.default mish.default mish_.default prelu.default relu.default relu6.default
relu6_.default relu_.default selu.default sigmoid.default sigmoid_.default silu.default silu_.default
softplus.default tanh.default tanh_.default

arange.default arange.start arange.start_step embedding.default eye.default full.default full_like.default
gather.default index.Tensor index_select.default linspace.default new_full.default new_ones.default
new_zeros.default ones.default ones_like.default scalar_tensor.default tril.default triu.default zeros.default
zeros_like.default
"""
ALLOWED = frozenset(_NAMES.split())
"""By name and overload, of `torch.ops.aten`: layout, arithmetic, reductions, products, layers, constants."""


def guard_attention(program: GraphModule) -> GraphModule:
    """Let attention in a program look at its sizes, which torch's own on the CPU reads beyond where they differ."""
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.scaled_dot_product_attention.default:
            node.target = _attention
    program.recompile()
    return program


def _attention(query: Tensor, key: Tensor, value: Tensor, *more: Any, **named: Any) -> Tensor:
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(f"attention has {key.shape[-2]} keys for {value.shape[-2]} values")
    attended: Tensor = torch.ops.aten.scaled_dot_product_attention.default(query, key, value, *more, **named)
    return attended
