"""Discarded channels and regions against literal loops over parts that numpy splits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.pretexts import ChannelDiscard, RegionDiscard, create_pretext
from pretask.pretexts.discard import bands

CHANNEL_SPECS = [
    "discard", "discard:groups=3", "discard:groups=2:grouping=strided", "discard:grouping=strided:keep=yes",
    "discard:grouping=random", "discard:groups=3:grouping=random:seed=9:identity=yes", "discard:keep=yes:identity=yes",
    "discard:fill=rescale", "discard:groups=3:keep=yes:fill=rescale", "discard:identity=yes:fill=rescale",
    "discard:groups=11",
]  # fmt: skip
MEAN_SPECS = ["discard:fill=mean", "discard:groups=3:keep=yes:fill=mean:identity=yes"]
REGION_SPECS = [
    "discard-region", "discard-region:grid=3", "discard-region:keep=yes", "discard-region:identity=yes",
    "discard-region:keep=yes:identity=yes:fill=rescale", "discard-region:grid=3:fill=rescale",
    "discard-region:fill=mean",
]  # fmt: skip


def prepared(spec: str, channels: int = 11):
    pretext = create_pretext(spec)
    pretext.prepare(channels)
    return pretext


def literal_groups(pretext: ChannelDiscard, channels: int) -> list[list[int]]:
    everything = np.arange(channels)
    if pretext.grouping == "strided":
        return [everything[j :: pretext.groups].tolist() for j in range(pretext.groups)]
    groups = [part.tolist() for part in np.array_split(everything, pretext.groups)]
    if pretext.grouping == "random":
        order = torch.randperm(channels, generator=torch.Generator().manual_seed(pretext.seed))
        of_channel = {c: j for j, part in enumerate(groups) for c in part}
        drawn = [of_channel[int(position)] for position in order]
        return [[c for c in range(channels) if drawn[c] == j] for j in range(pretext.groups)]
    return groups


def literal_parts(pretext: ChannelDiscard | RegionDiscard, sample: Tensor) -> list[set[tuple[int, ...]]]:
    """The positions (channel, row, column) of each part; pooled features have one row and column."""
    C, H, W = sample.shape
    if isinstance(pretext, ChannelDiscard):
        return [
            {(c, i, j) for c in g for i in range(H) for j in range(W)} for g in literal_groups(pretext, C)
        ]
    rows, columns = (np.array_split(np.arange(size), pretext.grid) for size in (H, W))
    return [{(c, i, j) for c in range(C) for i in r for j in s} for r in rows for s in columns]


def literal_discard(pretext: ChannelDiscard | RegionDiscard, sample: Tensor, label: int) -> Tensor:
    part = label - 1 if pretext.has_identity else label
    if part < 0:
        return sample.clone()
    chosen, out = literal_parts(pretext, sample)[part], sample.clone()
    kept = [p for p in np.ndindex(*sample.shape) if (p in chosen) == pretext.keep]
    means = sample[None].mean(dim=(-2, -1))[0]
    scale = torch.tensor(sample.numel() / len(kept), dtype=torch.float32)
    for position in np.ndindex(*sample.shape):
        if position not in kept:
            out[position] = means[position[0]] if pretext.fill == "mean" else 0
        elif pretext.fill == "rescale":
            out[position] = sample[position] * scale
    return out


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("spec", [*CHANNEL_SPECS, *MEAN_SPECS, *REGION_SPECS])
def test_maps_equal_the_literal_loop(spec: str) -> None:
    pretext = prepared(spec)
    M = pretext.num_labels
    x = features(M, 11, 5, 4)
    before = x.clone()
    labels = torch.randperm(M, generator=torch.Generator().manual_seed(1))
    out = pretext.transform(x, labels)
    assert torch.equal(x, before)
    for b, label in enumerate(labels.tolist()):
        assert torch.equal(out[b], literal_discard(pretext, x[b], label)), (b, label)
        assert torch.equal(out[b], x[b]) == (pretext.has_identity and label == 0)


@pytest.mark.parametrize("spec", CHANNEL_SPECS)
def test_pooled_features_equal_maps_of_one_position(spec: str) -> None:
    pretext = prepared(spec)
    x = features(3, 11)
    views = pretext.views(x)
    assert views.shape == (3 * pretext.num_labels, 11)
    for row, view in enumerate(views):
        b, label = divmod(row, pretext.num_labels)
        assert torch.equal(view, literal_discard(pretext, x[b, :, None, None], label)[:, 0, 0]), (b, label)
        assert torch.equal(view, pretext.transform(x[b : b + 1], torch.tensor([label]))[0])


@pytest.mark.parametrize("spec", [*CHANNEL_SPECS, *MEAN_SPECS, *REGION_SPECS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_are_all_parts_sample_major_in_the_same_format(spec: str, dtype: torch.dtype) -> None:
    pretext = prepared(spec)
    x = features(2, 11, 5, 4).to(dtype)
    M = pretext.num_labels
    labels = torch.arange(M).repeat(2)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = x.contiguous(memory_format=memory_format)
        views = pretext.views(x)
        repeated = x.repeat_interleave(M, dim=0).contiguous(memory_format=memory_format)
        one_by_one = pretext.transform(repeated, labels)
        assert torch.equal(views, one_by_one)
        for out in (views, one_by_one):
            assert out.dtype == dtype
            assert out.is_contiguous(memory_format=memory_format)


def test_masking_commutes_with_pooling() -> None:
    pretext, x = prepared("discard:groups=3:identity=yes"), features(2, 11, 5, 4)
    assert torch.equal(pretext.views(x).mean((2, 3)), pretext.views(x.mean((2, 3))))


def test_what_is_dropped_may_be_anything() -> None:
    x = features(1, 8)
    x[0, 0] = float("inf")
    assert prepared("discard", 8).views(x)[0].abs().sum().isfinite(), "inf times 0 is not 0"


@pytest.mark.parametrize("size", range(1, 14))
@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_bands_are_those_of_array_split(size: int, parts: int) -> None:
    expected = [j for j, part in enumerate(np.array_split(np.arange(size), parts)) for _ in part]
    assert bands(size, parts).tolist() == expected


def test_random_groups_follow_the_seed_and_have_equal_sizes() -> None:
    masks = [prepared(f"discard:grouping=random:seed={seed}", 64).masks for seed in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], prepared("discard", 64).masks)
    assert (~masks[2]).sum(1).tolist() == [16] * 4
    assert torch.equal((~masks[2]).sum(0), torch.ones(64, dtype=torch.int64)), "each channel in one group"


def test_drawing_groups_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    prepared("discard:grouping=random")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("prepare_first", [True, False])
def test_groups_stay_in_the_state(prepare_first: bool) -> None:
    trained = prepared("discard:grouping=random:seed=3", 10)
    state = {name: value.clone() for name, value in trained.state_dict().items()}
    assert list(state) == ["masks"]
    state["masks"] = state["masks"][
        :, torch.randperm(10)
    ]  # as another version of torch might have drawn them
    loaded = create_pretext(trained.name)
    if prepare_first:
        loaded.prepare(10)
    loaded.load_state_dict(state)
    loaded.prepare(10)
    assert torch.equal(loaded.masks, state["masks"])
    assert loaded.masks.dtype == torch.bool
    x = features(2, 10)
    assert torch.equal(loaded.views(x)[:4] != 0, state["masks"])


def test_state_of_other_groups_is_refused() -> None:
    state = prepared("discard:groups=5", 10).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        create_pretext("discard").load_state_dict(state)


def test_too_few_channels_are_refused() -> None:
    pretext = create_pretext("discard:groups=8")
    for attempt in (
        lambda: pretext.check(6, 4, 4),
        lambda: pretext.prepare(6),
        lambda: pretext.views(features(1, 6)),
    ):
        with pytest.raises(PretaskError, match=r"8 groups of 6 channels: type discard:groups=6 or fewer"):
            attempt()


def test_use_before_preparation_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"discard is not prepared for 8 channels: call prepare\(8\) first"):
        create_pretext("discard").transform(features(2, 8), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="prepared for 16 channels, not 8"):
        prepared("discard", 16).prepare(8)
    with pytest.raises(ValueError, match="not prepared for 8 channels"):
        prepared("discard", 16).views(features(2, 8))


def test_pooled_features_have_neither_means_nor_regions() -> None:
    for spec, message in (
        ("discard:fill=mean", r"leave out fill=mean, or"),
        ("discard-region", "2x2 regions .* 1x1"),
    ):
        pretext = prepared(spec)
        for attempt in (
            lambda p=pretext: p.check(11, 1, 1),
            lambda p=pretext: p.views(features(2, 11)),
            lambda p=pretext: p.transform(features(1, 11, 1, 1), torch.tensor([0])),
        ):
            with pytest.raises(PretaskError, match=message):
                attempt()
    with pytest.raises(PretaskError, match=r"3x3 regions of a feature map of 2x7 \(64 channels\)"):
        RegionDiscard(3).check(64, 2, 7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChannelDiscard(1), "groups = 1 is not possible: give a number 2 or more"),
        (lambda: RegionDiscard(1), "grid = 1 is not possible: give a number 2 or more"),
        (lambda: ChannelDiscard(fill="zeros"), "unknown fill of discard 'zeros'; did you mean 'zero'"),
        (lambda: ChannelDiscard(grouping="stride"), "did you mean 'strided'"),
        (lambda: ChannelDiscard(seed=3), "seed=3 does nothing with grouping=contiguous"),
        (lambda: ChannelDiscard(grouping="random", seed=-1), "seed = -1 is not possible"),
        (lambda: ChannelDiscard(grouping="random", seed=2**63), "is not possible: give a number from 0"),
    ],
)
def test_options_out_of_range_are_refused(make, message: str) -> None:
    with pytest.raises(PretaskError, match=message):
        make()


@pytest.mark.parametrize(
    "spec", ["discard", "discard:keep=yes", "discard:groups=2:identity=yes", "discard-region:keep=yes"]
)
def test_the_dropped_share_is_what_views_lack(spec: str) -> None:
    pretext = prepared(spec, 8)
    lacking = (pretext.views(torch.ones(1, 8, 4, 4)) == 0).float().mean()
    assert pretext.dropped_share == pytest.approx(float(lacking))


def test_names_of_labels() -> None:
    assert prepared("discard", 64).label_names()[:2] == ["without channels 0-15", "without channels 16-31"]
    assert create_pretext("discard").label_names()[3] == "without group 3"
    assert prepared("discard:grouping=strided:keep=yes", 64).label_names()[1] == "only channels 1,5,9,…"
    assert prepared("discard:groups=2:grouping=strided", 5).label_names() == [
        "without channels 0,2,4",
        "without channels 1,3",
    ]
    assert prepared("discard:identity=yes", 5).label_names()[::4] == ["everything", "without channels 4"]
    assert create_pretext("discard-region").label_names()[1] == "without region 0,1"


def test_gradient_reaches_what_is_kept_only() -> None:
    x = features(1, 8).requires_grad_()
    prepared("discard", 8).transform(x, torch.tensor([1])).sum().backward()
    assert x.grad.tolist() == [[1, 1, 0, 0, 1, 1, 1, 1]]
