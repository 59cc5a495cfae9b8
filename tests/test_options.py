"""Options: declared once; flag, key, spec, error, help and constructor follow, inside the package and outside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import pytest
import torch

from pretask.attacks import ATTACKS
from pretask.backbones import create_backbone
from pretask.cli.catalogue import entries
from pretask.config.files import build_config, read_variant, section_keys, to_full
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS
from pretask.losses import LOSSES, create_loss
from pretask.methods import GATES, METHODS, MethodParts, create_gate, create_method
from pretask.methods.episodic import HEADS
from pretask.options import DECIDED, Decision, Option, above, at_least, between, checking, options_of
from pretask.pretexts import PRETEXTS, create_pretext
from pretask.pretraining import BASES, OBJECTIVES
from pretask.registry import Registry
from pretask.specs import default_options, read_spec, spell_out, write_spec
from pretask.studies.plan import parse_variants

REGISTRIES: tuple[Registry[Any], ...] = (
    METHODS, LOSSES, GATES, ATTACKS, OBJECTIVES, BASES, HEADS, PRETEXTS, EVALUATORS,
)  # fmt: skip
KINDS = (RunConfig, PretrainConfig, FewShotConfig)
COUNTS = torch.tensor([5, 3, 2])


def parts() -> MethodParts:
    return MethodParts(create_backbone("resnet8", image_size=(8, 8)), COUNTS, (0.5,) * 3, (0.2,) * 3)


def some_factory(
    step: Annotated[int, "a count"] = 1,
    rate: Annotated[float, "a share"] = 0.5,
    kind: Annotated[Literal["a", "b"], "a or b"] = "a",
    word: Annotated[str, "any"] = "x",
    on: Annotated[bool, "or off"] = True,
    weights: Annotated[tuple[float, ...], "of each"] = (),
    other: int = 3,
) -> None:
    """Has an option of every type, and a parameter that is none."""


def test_every_type_is_read_and_written() -> None:
    options = options_of(some_factory)

    def read(spec: str):
        return read_spec(spec, lambda name: options, "pretext")

    name, values = read("some:step=-3:rate=1e+20:kind=b:word=y:on=no:weights=1,2.5")
    assert values == {"step": -3, "rate": 1e20, "kind": "b", "word": "y", "on": False, "weights": (1.0, 2.5)}
    spec = write_spec(name, options, values)
    assert spec == "some:step=-3:rate=1e20:kind=b:word=y:on=no:weights=1.0,2.5"
    assert read(spec) == (name, values)
    assert default_options(options) == ":step=1:rate=0.5:kind=a:word=x:on=yes:weights="
    with pytest.raises(PretaskError, match=r"rate=nan of pretext some is not allowed: give a number$"):
        read("some:rate=nan")
    with pytest.raises(PretaskError, match=r"unknown option of pretext some 'other'"):
        read("some:other=1")


def test_a_declaration_is_all_that_there_is_to_say() -> None:
    """Type, range, default, marks and help, as one parameter has them."""
    option = METHODS.options("sla")["views"]
    assert (option.name, option.flag, option.default) == ("views", "--views", None)
    assert option.takes_none and not option.several and option.marks == (DECIDED,)
    assert option.range is not None and not option.range.allows(0) and option.range.allows(1)
    assert option.words() == "a whole number 1 or more or nothing"
    assert METHODS.options("gssl")["gate"].named is not None
    assert LOSSES.options("focal")["focal_gamma"].words() == "a number 0 or more"


class Base:
    def __init__(
        self,
        size: int,
        *,
        weight: Annotated[float, above(0), "of all"] = 1.0,
        count: Annotated[int, between(1, 9), "how many"] = 3,
        plain: int = 3,
    ) -> None:
        self.weight, self.count = weight, count


class HandsOn(Base):
    def __init__(self, size: int, *, twice: Annotated[bool, "or once"] = False, **options: Any) -> None:
        super().__init__(size, **options)


class Redeclares(HandsOn):
    def __init__(
        self, size: int, *, count: Annotated[int, between(1, 9), "how many"] = 7, **options: Any
    ) -> None:
        super().__init__(size, count=count, **options)


class Inherits(Redeclares):
    pass


class KeepsToItself(Base):
    def __init__(self, size: int, *, own: Annotated[int, "its own"] = 1) -> None:
        super().__init__(size, weight=own)


class Mixin:
    def __init__(
        self, size: int, *, mixed: Annotated[int, at_least(2), "of a mixin"] = 4, **options: Any
    ) -> None:
        super().__init__(size, **options)


class Both(Mixin, HandsOn):
    pass


def test_a_decision_is_one_line() -> None:
    assert Decision("image_size", 96, "all images are large").line() == "image size 96: all images are large"


def test_options_of_bases_are_a_class_s_own_where_it_hands_them_on() -> None:
    assert list(options_of(Base)) == ["weight", "count"]
    assert set(options_of(HandsOn)) == {"twice", "weight", "count"}
    assert set(options_of(KeepsToItself)) == {"own"}
    assert set(options_of(Both)) == {"mixed", "twice", "weight", "count"}


@pytest.mark.parametrize("kind", [Redeclares, Inherits])
def test_an_option_that_is_declared_again_has_the_new_default(kind: type[Base]) -> None:
    assert {key: option.default for key, option in options_of(kind).items()} == {
        "count": 7,
        "twice": False,
        "weight": 1.0,
    }
    assert kind(1).count == 7 and HandsOn(1).count == 3


def test_defaults_of_presets_are_those_that_they_declare() -> None:
    assert METHODS.options("sla-fast")["views"].default == 2
    assert METHODS.options("sla-fast")["batch_of"].default == "views"
    assert METHODS.options("sla-sd")["views"].default is None
    assert METHODS.options("da-patch")["views"].default == 1
    assert METHODS.options("mt")["pretext_weight"].default == 1.0
    assert METHODS.options("lorot")["pretext_weight"].default == 0.1
    assert OBJECTIVES.options("i-mix")["base"].default == "byol"
    assert "base" not in OBJECTIVES.options("simclr") and "temperature" in OBJECTIVES.options("simclr")
    method = create_method("sla-fast", parts())
    assert (method.views_per_image, method.batch_of) == (2, "views")
    assert create_method("sla-fast", parts(), views=None).views_per_image == 4
    assert create_method("sla-fast:views=none", parts()).views_per_image == 4


@pytest.mark.parametrize("made", ["class", "subclass"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight": 0}, "weight = 0 is not possible: give a number above 0"),
        ({"weight": math.nan}, "weight = nan is not possible: give a number above 0"),
        ({"count": 10}, "count = 10 is not possible: give a number from 1 to 9"),
        (
            {"count": 10**400},
            r"count = 10{19}… \(401 characters\) is not possible: give a number from 1 to 9",
        ),
    ],
)
def test_a_constructor_refuses_what_is_out_of_range(made: str, given: dict[str, Any], message: str) -> None:
    class Part(Base):
        def __init__(self, size: int, **options: Any) -> None:
            super().__init__(size, **options)

    class Sub(Part):
        pass

    kind = checking({"class": Part, "subclass": Sub}[made])
    with pytest.raises(PretaskError, match=f"^{message}$"):
        kind(1, **given)
    assert kind(1, weight=2).weight == 2
    with pytest.raises(TypeError):
        kind(1, weigth=2)


def test_a_function_refuses_what_is_out_of_range_by_name_and_by_place() -> None:
    def double(size: int, rate: Annotated[float, above(0), "of it"] = 1.0) -> float:
        return 2 * rate

    checked = checking(double)
    for call in (lambda: checked(1, -1), lambda: checked(1, rate=-1)):
        with pytest.raises(PretaskError, match=r"^rate = -1 is not possible: give a number above 0$"):
            call()
    assert checked(1, 3) == checked(1, rate=3) == 6
    assert options_of(checked) == options_of(double)


def out_of_range(option: Option) -> Iterator[float]:
    if option.hint in (int, float, int | None, float | None):
        yield from (v for v in (-1, 0, 1e308, math.nan, math.inf) if option.refusal(v) is not None)


@pytest.mark.parametrize(
    "registry", [METHODS, LOSSES, GATES, OBJECTIVES, BASES, PRETEXTS], ids=lambda r: r.kind
)
def test_constructors_of_all_parts_refuse_what_is_out_of_range(registry: Registry[Any]) -> None:
    """Before anything else is looked at: the other arguments are nonsense."""
    tried = 0
    for name in registry.names():
        part = registry.get(name)
        for key, option in options_of(part).items():
            for bad in out_of_range(option):
                with pytest.raises(PretaskError, match=f"^{key} = .* is not possible: give ") as caught:
                    part(**{key: bad})
                assert "\n" not in str(caught.value), (name, key, bad)
                tried += 1
    assert tried >= 10


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("ssfe:pretexts=discard:groups=8", {"pretexts": ("discard:groups=8",)}),
        ("ssfe:pretexts=discard:groups=8:lr=0.05", {"pretexts": ("discard:groups=8",), "lr": 0.05}),
        (
            "gssl:pretexts=lorot-e:grid=4,patch-flip:gate=frozen",
            {"pretexts": ("lorot-e:grid=4", "patch-flip"), "gate": "frozen"},
        ),
        ("gssl:gate=normalised:gate_floor=0.5", {"gate": "normalised", "gate_floor": 0.5}),
        (
            "gssl:gate=fixed:gate-weights=1,2,3:pretext-weight=1",
            {"gate": "fixed", "gate_weights": (1.0, 2.0, 3.0), "pretext_weight": 1.0},
        ),
        ("gssl:gate_floor=0.5:gate=normalised", {"gate": "normalised", "gate_floor": 0.5}),
        ("sla:pretexts=rotation2+color3:views=2", {"pretexts": ("rotation2+color3",), "views": 2}),
        (
            "sla:pretexts=rotation2+patch-color:grid=4+color3:views=2",
            {"pretexts": ("rotation2+patch-color:grid=4+color3",), "views": 2},
        ),
        ("ssfe:loss=ldam:ldam_margin=0.3:views=2", {"loss": "ldam", "ldam_margin": 0.3, "views": 2}),
        ("sla:adversarial=pgd7:epsilon=4", {"adversarial": "pgd7", "epsilon": 4.0}),
        ("fixmatch+sla:unlabelled_ratio=3:views=1", {"unlabelled_ratio": 3, "views": 1}),
        ("sla-fast:views=none", {"views": None}),
        ("sla:label_smoothing=0.1", {"label_smoothing": 0.1}),
    ],
)
def test_a_key_belongs_to_the_innermost_part_that_has_it(text: str, settings: Mapping[str, Any]) -> None:
    found = read_variant(RunConfig, text, {})
    assert found == {"method": text.partition(":")[0], **settings}
    config = parse_variants([text], RunConfig())[0].config(RunConfig())
    assert {key: to_full(config)[key] for key in settings} == settings


def test_objectives_and_heads_have_variants_of_the_same_grammar() -> None:
    assert read_variant(PretrainConfig, "trimix:base=simclr:temperature=0.2:mixed=views", {}) == {
        "method": "trimix", "base": "simclr", "temperature": 0.2, "mixed": "views",
    }  # fmt: skip
    assert read_variant(FewShotConfig, "ridge:pretexts=rotation", {}) == {
        "head": "ridge",
        "pretexts": ("rotation",),
    }


def test_a_variant_may_have_options_of_what_the_whole_study_chose() -> None:
    study = build_config(RunConfig, {"loss": "ldam", "adversarial": "pgd10"})
    variant, _ = parse_variants(["sla:ldam_margin=0.3:epsilon=2", "sla"], study)
    assert (to_full(variant.config(study))["ldam_margin"], to_full(variant.config(study))["epsilon"]) == (
        0.3,
        2,
    )
    assert variant.config(study).method.loss == "ldam"
    with pytest.raises(PretaskError, match="unknown option of method sla 'ldam_margin'"):
        parse_variants(["sla:ldam_margin=0.3"], RunConfig())
    pretraining = build_config(PretrainConfig, {"base": "byol"})
    (variant,) = parse_variants(["trimix:predictor=no"], pretraining)
    assert to_full(variant.config(pretraining))["predictor"] is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slaa:views=2", r"unknown method 'slaa'; did you mean 'sla'"),
        ("sla:view=2", r"unknown option of method sla 'view'; did you mean 'views'"),
        ("sla:pretext_weight=1", r"unknown option of method sla 'pretext_weight'"),
        ("gssl:gate=lerned:gate_floor=1", r"unknown gate 'lerned'; did you mean 'learned'"),
        ("gssl:gate=frozen:gate_floor=1", r"unknown option of method gssl 'gate_floor'; did you mean 'gate'"),
        ("ssfe:pretexts=discrad:groups=8", r"unknown pretext 'discrad'; did you mean 'discard'"),
        ("sla:views", r"option 'views' of method sla has no value: type sla:views=auto, for example"),
        ("sla:views=2:views=3", r"option 'views' of method sla is given twice: keep one of them"),
        ("sla:views=0", r"views=0 of method sla is not allowed: give a number 1 or more$"),
        ("sla:views=two", r"views=two of method sla is not allowed: give a whole number$"),
        ("sla:view_reduction=max", r"view_reduction=max of method sla is not allowed: give mean or sum$"),
        (
            "sla:seed=3",
            r"'sla:seed=3' has seed of its own, which a study gives to all alike: type --seed for all",
        ),
        ("sla:", r"unknown option of method sla ''"),
    ],
)
def test_a_wrong_variant_names_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(PretaskError, match=message) as caught:
        parse_variants([text], RunConfig())
    assert "\n" not in str(caught.value)


def test_specs_make_the_parts_and_options_beside_them_do_too() -> None:
    for gate in (
        create_gate("normalised:gate_floor=0.5", 4, 3),
        create_gate("normalised", 4, 3, gate_floor=0.5),
        create_method("gssl:gate=normalised:gate_floor=0.5", parts()).gate,
        create_method("gssl", parts(), gate="normalised:gate_floor=0.5").gate,
        create_method("gssl", parts(), gate="normalised", gate_floor=0.5).gate,
        create_method("gssl:gate=normalised", parts(), gate_floor=0.5).gate,
    ):
        assert (type(gate), gate.floor) == (GATES.get("normalised"), 0.5)
    with pytest.raises(PretaskError, match="unknown option of method gssl 'gate_floor'; did you mean 'gate'"):
        create_method("gssl", parts(), gate="frozen", gate_floor=0.5)
    with pytest.raises(
        PretaskError, match=r"gate_floor is given twice, as 0.5 in gate = normalised:gate_floor=0.5 and as"
    ):
        create_method("gssl", parts(), gate="normalised:gate_floor=0.5", gate_floor=0.4)
    with pytest.raises(
        PretaskError, match=r"^gate_floor = 2 is not possible: type --gate-floor with a number from 0"
    ):
        create_method("gssl", parts(), gate="normalised", gate_floor=2)


def test_options_in_the_name_of_a_part_are_spelled_out() -> None:
    known = section_keys(RunConfig)
    assert spell_out(known, {"loss": "focal:focal_gamma=1", "lr": 1}) == {
        "loss": "focal",
        "focal_gamma": 1.0,
        "lr": 1,
    }
    config = build_config(
        RunConfig, {"method": "gssl:gate=normalised:gate_floor=0.4", "loss": "ldam:ldam_margin=0.2"}
    )
    gate = {"gate": "normalised", "gate_floor": 0.4}
    written = build_config(RunConfig, {"method": "gssl", **gate, "loss": "ldam", "ldam_margin": 0.2})
    assert config == written


def test_options_are_listed_with_the_parts_that_have_them() -> None:
    listed = entries("options")
    lines = {line.split()[0]: line for line in listed}
    whole = "\n".join(listed)
    for registry in REGISTRIES:
        for name in registry.names():
            for option in registry.options(name).values():
                assert option.help in whole, (name, option)
    assert "of normalised" in lines["gate_floor"] and "[0.3]" in lines["gate_floor"]
    gates = entries("gates")
    at = next(i for i, line in enumerate(gates) if line.startswith("normalised "))
    assert gates[at + 1].split() == ["normalised:gate_init=linear:gate_softmax=images:gate_floor=0.3"]


def test_every_default_is_a_value_that_may_be_given() -> None:
    for registry in REGISTRIES:
        for name in registry.names():
            for option in registry.options(name).values():
                assert option.read(option.default) == option.default, (name, option)
    for kind in KINDS:
        for option in section_keys(kind).values():
            assert option.read(option.default) == option.default, (kind, option)


def test_losses_gates_and_pretexts_from_outside_have_options_on_the_same_terms(monkeypatch) -> None:
    """Registered as an entry point does, in this process, and taken out again."""

    def their_gate(num_features: int, num_tasks: int, *, tilt: Annotated[float, above(0), "of it"] = 1.0):
        return GATES.get("uniform")(num_features, num_tasks)

    monkeypatch.setitem(GATES._parts, "tilted", checking(their_gate))
    assert read_variant(RunConfig, "gssl:gate=tilted:tilt=2", {}) == {
        "method": "gssl",
        "gate": "tilted",
        "tilt": 2.0,
    }
    full = to_full(build_config(RunConfig, {"method": "gssl", "gate": "tilted"}))
    assert full["tilt"] == 1.0
    with pytest.raises(PretaskError, match=r"^tilt = 0 is not possible: type --tilt with a number above 0$"):
        build_config(RunConfig, {"method": "gssl", "gate": "tilted", "tilt": 0})
    with pytest.raises(
        PretaskError, match="tilt in the configuration is an option of gate tilted, which is not chosen"
    ):
        build_config(RunConfig, {"method": "gssl", "tilt": 1})
    create_method("gssl:gate=tilted:tilt=3", parts())


def test_a_loss_is_made_with_its_options_and_its_weights_whichever_way_they_are_given() -> None:
    for make in (
        create_loss("ldam:ldam_margin=0.2:class_weights=inverse"),
        create_loss("ldam", ldam_margin=0.2, class_weights="inverse"),
    ):
        loss = make(COUNTS)
        assert loss.loss.margins.max().item() == pytest.approx(0.2)
        assert loss.weights.tolist() != [1.0, 1.0, 1.0]
    assert create_pretext("discard:groups=8").name == "discard:groups=8"
