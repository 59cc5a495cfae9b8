"""Names and constants of the attacks."""

from __future__ import annotations

import pytest
import torch

from pretask.attacks import Attack, attack_names, create_attack, in_255ths, pgd
from pretask.errors import PretaskError


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fgsm", "FGSM Linf eps 8/255"),
        ("pgd10", "PGD-10 Linf eps 8/255 step 2/255, 1 restart"),
        ("pgd20", "PGD-20 Linf eps 8/255 step 2/255, 1 restart"),
        ("pgd100", "PGD-100 Linf eps 8/255 step 0.3/255, 1 restart"),
        ("pgd20-l2", "PGD-20 L2 eps 128/255 step 15/255, 1 restart"),
        ("pgd50", "PGD-50 Linf eps 8/255 step 0.4/255, 1 restart"),
        ("pgd50-l2", "PGD-50 L2 eps 128/255 step 6.4/255, 1 restart"),
    ],
)
def test_names_stand_for_their_constants(name, words):
    attack = create_attack(name)
    assert attack.name == name
    assert attack.describe() == words
    assert attack.random_start == (name != "fgsm")


def test_every_name_is_listed_and_can_be_made():
    assert attack_names() == ["fgsm", "pgd10", "pgd100", "pgd20", "pgd20-l2"]
    assert [create_attack(name).name for name in attack_names()] == attack_names()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fgsm", "FGSM Linf eps 4/255"),
        ("pgd20", "PGD-20 Linf eps 4/255 step 1/255, 1 restart"),
        ("pgd5", "PGD-5 Linf eps 4/255 step 2/255, 1 restart"),
    ],
)
def test_the_step_goes_with_epsilon(name, words):
    assert create_attack(name, 4 / 255).describe() == words


def test_more_constants_are_described():
    attack = Attack("mine", 1 / 510, 0.1 / 255, 3, restarts=4, random_start=False)
    assert attack.describe() == "PGD-3 Linf eps 0.5/255 step 0.1/255, 4 restarts, from the clean image"
    assert in_255ths(1) == "255/255"


def test_a_call_passes_every_constant_on(network, images, labels):
    attack = Attack("mine", 0.2, 0.05, 3, norm="l2", restarts=2)
    found = attack(network, images, labels, torch.Generator().manual_seed(3))
    options = {"epsilon": 0.2, "step_size": 0.05, "steps": 3, "norm": "l2", "restarts": 2}
    expected = pgd(network, images, labels, generator=torch.Generator().manual_seed(3), **options)
    assert torch.equal(found, expected)
    still = Attack("mine", 0.2, 0.05, 1, random_start=False)
    assert torch.equal(still(network, images, labels), still(network, images, labels))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epsilon": -0.1}, r"epsilon -25\.5/255 is outside 0/255\.\.255/255"),
        ({"epsilon": 8.0}, r"epsilon 2040/255 is outside"),
        ({"epsilon": float("nan")}, "epsilon nan/255 is outside"),
        ({"step_size": 0}, "step 0/255 goes nowhere"),
        ({"step_size": float("nan")}, "step nan/255 goes nowhere"),
        ({"steps": 0}, "0 steps is none"),
        ({"restarts": 0}, "0 restarts is none"),
        ({"norm": "l1"}, r"unknown norm 'l1'.*known: l2, linf"),
    ],
)
def test_constants_that_make_no_attack_are_refused(network, images, labels, change, told):
    constants = {"epsilon": 0.1, "step_size": 0.1, "steps": 1, "norm": "linf", "restarts": 1, **change}
    with pytest.raises(PretaskError, match=told) as refused:
        Attack("mine", **constants)
    assert "\n" not in str(refused.value)
    with pytest.raises(PretaskError, match=told):
        pgd(network, images, labels, **constants)


@pytest.mark.parametrize("name", ["pgd", "pdg20", "pgd-20", "pgd20-l3", "fgsm2"])
def test_unknown_names_are_told(name):
    with pytest.raises(PretaskError, match=f"unknown attack '{name}'.*pgd<steps>"):
        create_attack(name)


def test_faults_in_a_name_and_its_epsilon():
    with pytest.raises(PretaskError, match="0 steps is none"):
        create_attack("pgd0")
    with pytest.raises(PretaskError, match="outside"):
        create_attack("fgsm", 1.5)
