"""Products, and pretexts on images beside pretexts on features."""

from __future__ import annotations

import pytest
import torch

from pretask.pretexts import Product, create_pretext, create_pretexts, product, split_domains


def test_a_product_is_the_same_however_it_was_bracketed() -> None:
    a, b, c = create_pretexts(["rotation2", "color3", "vflip"])
    products = [product([a, Product(b, c)]), product([Product(a, b), c]), product([a, b, c])]
    x, labels = torch.rand(12, 3, 4, 4), torch.arange(12)
    for one in products:
        assert one.name == "rotation2+color3+vflip"
        assert torch.equal(one.transform(x, labels), products[0].transform(x, labels))
    assert product([a]) is a
    with pytest.raises(ValueError, match="at least 1"):
        product([])


def test_equal_names_mean_equal_state() -> None:
    left = product([create_pretext("discard+discard-region"), create_pretext("discard:grouping=random")])
    right = create_pretext(left.name)
    left.prepare(8)
    right.prepare(8)
    assert list(left.state_dict()) == list(right.state_dict()) == ["first.first.masks", "second.masks"]
    right.load_state_dict(left.state_dict())


def test_domains_are_split_in_order() -> None:
    images, features = split_domains(create_pretexts(["rotation", "discard", "color3", "discard-region"]))
    assert (images.name, images.domain) == ("rotation+color3", "image")
    assert (features.name, features.domain) == ("discard+discard-region", "features")
    assert split_domains(create_pretexts("rotation2+color3"))[0].num_labels == 6
    assert split_domains(create_pretexts("rotation2"))[1] is None
    assert split_domains([]) == (None, None)


def test_domains_do_not_mix() -> None:
    with pytest.raises(ValueError, match="rotation works on image, discard on features"):
        create_pretext(["rotation", "discard"])


def test_a_product_knows_what_its_factors_are() -> None:
    assert create_pretext("rotation+hflip").hidden_by == {"flip"}
    assert create_pretext("discard:identity=yes+discard-region:identity=yes").has_identity
    assert not create_pretext("discard:identity=yes+discard").has_identity
    assert create_pretext("rotation+lorot-i").stochastic
    assert not create_pretext("rotation+lorot-e").stochastic


def test_a_product_on_features_equals_one_after_the_other() -> None:
    both = create_pretext("discard+discard-region:grid=3")
    both.prepare(8)
    x = torch.rand(2, 8, 6, 6)
    views = both.views(x)
    for b in range(2):
        for m in range(36):
            one = both.first.transform(x[b : b + 1], torch.tensor([m // 9]))
            assert torch.equal(views[36 * b + m], both.second.transform(one, torch.tensor([m % 9]))[0])
