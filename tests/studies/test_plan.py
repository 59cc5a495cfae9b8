"""Budgets and variants by hand."""

from __future__ import annotations

import pytest
import torch

from pretask.config.files import build_config, from_flat, to_full
from pretask.config.sections import FewShotConfig, PretrainConfig
from pretask.data import ImageData
from pretask.data.images.containers import ArrayImages, LabelledImages
from pretask.errors import PretaskError
from pretask.studies.compare import work_of
from pretask.studies.plan import (
    EQUAL_COMPUTE,
    EQUAL_EPOCHS,
    EQUAL_STEPS,
    cell_config,
    make_plan,
    parse_variants,
)

METHODS = ("baseline", "da", "sla")


def pictures(channels: int = 3, size: tuple[int, int] = (16, 16)) -> ImageData:
    train = LabelledImages(
        ArrayImages(torch.zeros(4, channels, *size, dtype=torch.uint8)), torch.tensor([0, 1, 0, 1])
    )
    mean, std = (0.5,) * channels, (0.2,) * channels
    return ImageData("noise", train, None, None, ("a", "b"), channels, size, mean, std, "none")


def plan(methods=METHODS, seeds=2, equal_compute=True, data=None, **settings):
    config = from_flat({"epochs": 10, "backbone": "resnet8", **settings})
    variants = parse_variants(methods, config)
    work = work_of(config, variants, data or pictures())
    return make_plan(config, variants, seeds, work if equal_compute else None)


def epochs(made, budget):
    return {variant.name: count for variant, count in made.lengths[budget].items()}


def test_equal_compute_gives_each_method_the_same_passes() -> None:
    made = plan(pretexts=["rotation2", "color3"])
    assert epochs(made, EQUAL_EPOCHS) == {"baseline": 10, "da": 10, "sla": 10}
    assert epochs(made, EQUAL_COMPUTE) == {"baseline": 60, "da": 10, "sla": 10}


def test_methods_that_cost_one_pass_train_as_long_as_the_baseline() -> None:
    made = plan(("baseline", "ssfe", "lorot", "gssl", "sla", "sla:views=2"))
    assert epochs(made, EQUAL_COMPUTE) == {
        "baseline": 40, "ssfe": 40, "lorot": 40, "gssl": 40, "sla": 10, "sla:views=2": 20,
    }  # fmt: skip


def test_a_cut_inside_the_network_costs_what_comes_after_it() -> None:
    made = plan(("baseline", "ssfe:layer=blocks.1"))
    last, total = (
        32 * 64 * 9 * 16 + 64 * 64 * 9 * 16,
        27 * 16 * 256 + 2 * 16 * 16 * 9 * 256 + 48 * 32 * 9 * 64,
    )
    assert epochs(made, EQUAL_COMPUTE)["baseline"] == round(10 * (1 + 3 * last / (total + last)))


def test_runs_that_budgets_share_are_made_once() -> None:
    cells = plan(seed=5).cells()
    assert len(cells) == len(set(cells)) == 2 * 4
    assert [c.seed for c in cells] == [5] * 4 + [6] * 4
    assert {c.name for c in cells if c.method == "baseline"} == {
        f"baseline-epochs{e}-seed{s}" for e in (10, 40) for s in (5, 6)
    }


def test_random_views_cost_what_they_are() -> None:
    assert epochs(plan(("baseline", "sla"), views=1), EQUAL_COMPUTE)["baseline"] == 10
    oblong = plan(("baseline", "sla"), data=pictures(1, (16, 12)))
    assert epochs(oblong, EQUAL_COMPUTE)["baseline"] == 20, "oblong images take half turns"


def test_cells_differ_in_method_seed_and_length_only() -> None:
    config = from_flat({"epochs": 10, "lr": 0.3})
    cell = plan().cells()[-1]
    made = cell_config(config, cell, "runs/study")
    assert (made.method.method, made.session.seed, made.optim.epochs) == (cell.method, cell.seed, cell.length)
    assert (made.optim.lr, made.session.runs, made.session.name) == (0.3, "runs/study", cell.name)


def test_a_variant_has_settings_of_its_own() -> None:
    config = from_flat({"epochs": 10, "method": "gssl", "pretext_weight": 0.5})
    text = "gssl:gate=fixed:gate-weights=1,2,3:pretext_weight=0.3:pretexts=lorot-e,patch-flip,patch-color"
    (variant,) = parse_variants([text], config)
    asked = to_full(variant.config(config))
    assert (asked["method"], asked["gate"], asked["gate_weights"]) == ("gssl", "fixed", (1.0, 2.0, 3.0))
    assert (asked["pretext_weight"], asked["pretexts"]) == (0.3, ("lorot-e", "patch-flip", "patch-color"))
    plain, same = parse_variants(["baseline", "gssl-flip"], config)
    assert "pretext_weight" not in to_full(plain.config(config))
    assert to_full(same.config(config))["pretext_weight"] == 0.5
    assert variant.folder.startswith("gssl-gate-fixed-gate-weights-1-2-3-pretext_weight-0.3-")


def test_a_study_may_count_in_steps() -> None:
    """FixMatch sees 1 + 3 images per label, the 3 of them twice: 7 passes where the baseline makes one."""
    made = plan(("baseline", "fixmatch", "sla"), steps=70, method="fixmatch", unlabelled_ratio=3)
    assert epochs(made, EQUAL_STEPS) == {"baseline": 70, "fixmatch": 70, "sla": 70}
    assert epochs(made, EQUAL_COMPUTE) == {"baseline": 490, "fixmatch": 70, "sla": 122}
    config = from_flat({"steps": 70, "method": "fixmatch", "unlabelled_ratio": 3})
    lengths = {cell.name: cell_config(config, cell, "r").optim.steps for cell in made.cells()}
    assert lengths["baseline-steps490-seed0"] == 490
    assert lengths["fixmatch-steps70-seed1"] == 70


def test_pre_trainings_and_heads_are_variants_too() -> None:
    pretraining = build_config(PretrainConfig, {})
    first, second = parse_variants(["byol", "trimix:base=simclr:extraction_weight=0.5"], pretraining)
    assert first.config(pretraining).pretraining.method == "byol"
    asked = to_full(second.config(pretraining))
    assert (asked["method"], asked["base"], asked["extraction_weight"]) == ("trimix", "simclr", 0.5)
    episodes = build_config(FewShotConfig, {})
    (turned,) = parse_variants(["ridge:pretexts=rotation,color"], episodes)
    assert turned.config(episodes).episodes.head == "ridge"
    assert turned.config(episodes).episodes.pretexts == ("rotation", "color")
    for config, text, message in (
        (pretraining, "byoll", "did you mean 'byol'"),
        (pretraining, "byol:epochs=3", "which a study gives to all alike"),
        (episodes, "means", "few-shot head"),
        (episodes, "ridge:shots=3", "which a study gives to all alike"),
    ):
        with pytest.raises(PretaskError, match=message):
            parse_variants([text], config)


def test_gates_are_compared_as_variants() -> None:
    names = ("baseline", "lorot", "gssl:gate=frozen", "gssl:gate=learned", "gssl-ungated")
    made = plan(names)
    assert tuple(variant.name for variant in made.variants) == names
    configs = {cell.method: to_full(cell_config(from_flat({}), cell, "r")) for cell in made.cells()}
    gates = {name: config.get("gate") for name, config in configs.items()}
    assert gates == dict(zip(names, (None, "learned", "frozen", "learned", "learned"), strict=True))
    with pytest.raises(PretaskError, match=r"gate = \['frozen', 'learned'\] is not allowed: give text"):
        plan(("baseline", "gssl"), method="gssl", gate=["frozen", "learned"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ()}, "different methods"),
        ({"methods": ("sla", "sla")}, "different methods"),
        ({"methods": ("slaa",)}, "did you mean 'sla'"),
        ({"methods": ("sla:vievs=2",)}, "did you mean 'views'"),
        ({"methods": ("sla:views=two",)}, "views=two of method sla is not allowed: give a whole number"),
        ({"methods": ("sla:views",)}, "option 'views' of method sla has no value: type sla:views=auto"),
        ({"methods": ("sla:epochs=3",)}, "which a study gives to all alike: type --epochs"),
        ({"methods": ("sla:per-class=3",)}, "type --per-class"),
        ({"seeds": 0}, "at least 1 seed"),
        ({"methods": ("baseline", "fixmatch")}, "type --steps instead of --epochs"),
    ],
)
def test_impossible_plans_are_refused(arguments, message: str) -> None:
    with pytest.raises(PretaskError, match=message):
        plan(**arguments)


def test_colour_order_on_grey_images_is_refused_before_any_run() -> None:
    with pytest.raises(PretaskError, match="3 channels, not 1"):
        plan(("baseline", "sla"), data=pictures(1), pretexts=["color"])
    assert plan(("baseline",), data=pictures(1), pretexts=["color"]).cells()
