"""A model under attack, and afterwards."""

from __future__ import annotations

import pytest
from torch import nn

from pretask.attacks import attacked


def test_each_module_gets_its_own_mode_back_after_failures_too():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())).train()
    model[1][0].eval()
    before = [module.training for module in model.modules()]
    with pytest.raises(KeyError), attacked(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == before == [True, True, True, False, True]


def test_a_plain_function_has_no_mode():
    with attacked(lambda images: images):
        pass
