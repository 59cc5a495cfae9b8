"""Each pretext is one graph: no break, no synchronisation, the same result."""

from __future__ import annotations

import pytest
import torch

from pretask.pretexts import create_pretext, create_pretexts, transform_shared

SPECS = [
    "rotation", "color3", "hflip", "rotation2+color3", "lorot-e", "lorot-i", "patch-flip", "patch-color",
    "patch-rotation:position=yes", "discard", "discard:fill=rescale:identity=yes", "discard:grouping=random:fill=mean",
    "discard-region:keep=yes:identity=yes",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function):
    return torch.compile(function, fullgraph=True, backend="eager", dynamic=False)


@pytest.mark.parametrize("spec", SPECS)
def test_transform_and_views_compile_to_one_graph(spec: str) -> None:
    pretext = create_pretext(spec)
    channels = 8 if pretext.domain == "features" else 3
    pretext.prepare(channels)
    x, labels = torch.rand(4, channels, 4, 4), torch.tensor([1, 0, 1, 1])
    for function, arguments in ((pretext.transform, (x, labels)), (pretext.views, (x,))):
        torch.manual_seed(0)
        expected = function(*arguments)
        torch.manual_seed(0)
        assert torch.equal(compiled(function)(*arguments), expected)


def test_a_shared_patch_compiles_to_one_graph() -> None:
    tasks, x = create_pretexts(["patch-color", "lorot-e", "patch-flip"]), torch.rand(4, 3, 4, 4)
    torch.manual_seed(0)
    expected, expected_labels = transform_shared(tasks, x)
    torch.manual_seed(0)
    changed, labels = compiled(transform_shared)(tasks, x)
    assert torch.equal(changed, expected)
    assert all(torch.equal(a, b) for a, b in zip(labels, expected_labels, strict=True))


@pytest.mark.parametrize("spec", [s for s in SPECS if s != "hflip"])
def test_nothing_leaves_the_device(spec: str) -> None:
    """On the meta device whatever needs a value, such as `.item()`, fails."""
    pretext = create_pretext(spec)
    channels = 8 if pretext.domain == "features" else 3
    pretext.prepare(channels)
    pretext.to("meta")
    x, labels = torch.rand(4, channels, 4, 4, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")
    assert pretext.transform(x, labels).shape == x.shape
    assert pretext.views(x).shape[0] == 4 * pretext.num_labels
