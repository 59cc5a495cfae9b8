"""Every recipe is read, built and stepped through, photos without storage; its header and its family agree."""

from __future__ import annotations

from pathlib import Path

import cyclopts
import pytest
import torch
from recipe_settings import CLASSES, data_of, method_of, setting_of, source_of, views_of

from command_line import parsed
from pretask.cli import catalogue
from pretask.config import recipes
from pretask.config.files import from_flat, to_full
from pretask.config.recipes import read_recipe, recipe_names, recipe_result, recipe_text
from pretask.config.sections import RunConfig
from pretask.data import ArrayImages, ImageData, LabelledImages
from pretask.errors import PretaskError
from pretask.losses import Reweighted, create_loss
from pretask.tasks import Supervised
from pretask.training.data import build_data
from pretask.training.optim import lr_schedule, training_length

NAMES = [name for name in recipe_names() if not name.startswith(("pretrain-", "few-shot-"))]
OWN = {
    "method",
    "pretexts",
    "view_reduction",
    "backbone",
    "cutmix",
    "loss",
    "gate",
    "gate_init",
    "gate_softmax",
    "pretext_weight",
    "pretext_scale",
}
EPOCH = 96  # steps in an epoch of long-tailed CIFAR-10


def stand_in(config: RunConfig) -> ImageData:
    """A stand-in with the classes, channels and size of a recipe's data set, one image per class."""
    side = config.data.image_size or 32
    classes = CLASSES[config.data.data]
    train = LabelledImages(
        ArrayImages(torch.zeros(classes, 3, 1, 1, dtype=torch.uint8)), torch.arange(classes)
    )
    names = tuple(map(str, range(classes)))
    return ImageData(
        config.data.data, train, None, None, names, 3, (side, side), (0.5,) * 3, (0.25,) * 3, "none"
    )


def test_every_published_setting_has_a_recipe():
    for data in ("cifar10", "cifar100", "tiny-imagenet", "cub200", "mit67", "stanford-dogs"):
        methods = ("baseline", "sla", "sla-sd", "sla-color", "sla-sd-color")
        assert {f"{method}-{data}" for method in methods} <= set(NAMES)
    assert {f"{method}-imagenet" for method in ("baseline", "sla", "sla-sd")} <= set(NAMES)
    assert {"sla-6fold-cub200", "sla-12fold-cub200", "sla-24fold-cub200", "sla-sd-cutmix-cifar10"} <= set(
        NAMES
    )
    long_tailed = {f"lt-{kind}" for kind in ("ce", "cb-rw", "ldam-drw", "sla-sd", "ssfe", "lorot")} | {"ssfe"}
    long_tailed |= {"lt-sla-sd-ce", "lt-sla-sd-cb-rw", "lt-gssl", "lt-gssl-flip", "lt-gssl-perm"}
    assert {f"{kind}-{data}" for kind in long_tailed for data in ("cifar10", "cifar100")} <= set(NAMES)
    assert {f"{kind}-tiny-imagenet" for kind in ("lorot", "gssl", "gssl-flip", "gssl-perm")} <= set(NAMES)
    assert {f"adv-{kind}cifar10" for kind in ("", "lorot-", "gssl-", "gssl-flip-", "gssl-perm-")} <= set(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_recipe_follows_the_published_schedule(name):
    optim, setting = from_flat(read_recipe(name)).optim, setting_of(name)
    assert (getattr(optim, setting.length[0]), optim.batch_size) == (setting.length[1], setting.batch_size)
    assert (optim.steps is None) == (setting.length[0] == "epochs")
    assert (optim.optimizer, optim.momentum, optim.nesterov) == ("sgd", 0.9, setting.nesterov)
    assert (optim.weight_decay, optim.schedule) == (setting.weight_decay, setting.schedule)
    assert optim.warmup_epochs == setting.warmup_epochs
    total = training_length(optim, EPOCH)[1]
    rate = lr_schedule(optim, EPOCH, total)
    for share, expected in setting.rates.items():
        assert rate(min(round(share * total), total - 1)) == pytest.approx(expected, abs=1e-9), share


@pytest.mark.parametrize("name", NAMES)
def test_recipe_never_selects_on_the_test_set(name):
    config, setting = from_flat(read_recipe(name)), setting_of(name)
    assert (config.data.validation, config.session.selection) == (setting.validation, setting.selection)
    assert config.session.selection != "test"


@pytest.mark.parametrize("name", NAMES)
def test_name_tells_method_data_and_imbalance(name):
    config = from_flat(read_recipe(name))
    assert (config.method.method, config.method.loss) == method_of(name)
    assert config.data.data == data_of(name)
    assert config.data.imbalance == (100 if name.startswith("lt-") else None)
    assert config.method.adversarial == ("pgd10" if name.startswith("adv-") else "none")
    assert to_full(config).get("epsilon") == (8 if name.startswith("adv-") else None)


@pytest.mark.parametrize("name", NAMES)
def test_recipe_builds_and_steps(name):
    asked = from_flat({**read_recipe(name), "precision": "fp32"})
    data = stand_in(asked)
    task = Supervised(asked, data)
    task.decide(torch.device("cpu"))
    classes, side = data.num_classes, data.image_size[0]
    device = "meta" if side > 32 else "cpu"  # photos would take minutes
    with torch.device(device):
        method = task.build()
        count = 16 if name.startswith("fixmatch") else 2  # two with labels, fourteen without
        images, labels = torch.rand(count, 3, side, side), torch.zeros(count, dtype=torch.int64)
        parts = method(images, torch.eye(classes)[labels] if asked.method.cutmix else labels)
        answers = {mode: method.classifier(mode)(images) for mode in method.inferences}
    assert parts["loss"].shape == ()
    assert parts["loss"].requires_grad
    assert device == "meta" or parts["loss"].isfinite()
    assert {tuple(logits.shape) for logits in answers.values()} == {(count, classes)}
    assert method.views_per_image == views_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_recipes_of_a_family_differ_in_the_method_alone(name):
    values, twin = read_recipe(name), read_recipe(setting_of(name).twin)
    assert {k: v for k, v in values.items() if k not in OWN} == {
        k: v for k, v in twin.items() if k not in OWN
    }


@pytest.mark.parametrize("name", NAMES)
def test_header_tells_command_target_difference_and_source(name):
    lines = recipe_text(name).splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header
    assert header[0].removeprefix("# ")
    assert all(len(line) <= 120 for line in lines)
    (command,) = [line.partition(": ")[2] for line in header if line.startswith("# command: ")]
    assert command.startswith(f"pretask train --recipe {name}")
    parsed(command.split()[1:])
    targets = [line for line in header if line.startswith("# target")]
    assert len(targets) == 1
    assert targets[0].startswith(("# target, second-hand, not verified: ", "# target: none at hand"))
    assert "# different from the paper:" in header
    assert any(line.startswith("# - ") for line in header)
    (source,) = [line.removeprefix("# source: ") for line in header if line.startswith("# source: ")]
    assert source.startswith(source_of(name))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("lt-")])
def test_long_tailed_header_tells_the_other_ratios(name):
    lines = recipe_text(name).splitlines()
    at = lines.index("# other ratios: --imbalance 50, 20 or 10, each with a --name of its own")
    assert lines[at + 1].startswith(("# there, second-hand, not verified: ", "# there: no target at hand"))


@pytest.mark.parametrize(
    ("data", "totals"),
    [("cifar10", (12_406, 13_996, 17_023, 20_431)), ("cifar100", (10_847, 12_608, 15_907, 19_573))],
)
def test_long_tailed_recipes_train_on_the_published_counts(data, totals):
    classes = CLASSES[data]
    images = ArrayImages(torch.zeros(50_000, 1, 1, 1, dtype=torch.uint8))
    train = LabelledImages(images, torch.arange(50_000) % classes)
    names = tuple(map(str, range(classes)))
    whole = ImageData(
        data, train, None, train.subset(range(classes)), names, 1, (1, 1), (0.0,), (1.0,), "none"
    )
    for ratio, total in zip((100, 50, 20, 10), totals, strict=True):
        config = from_flat({**read_recipe(f"lt-ce-{data}"), "imbalance": ratio})
        split = build_data(config, whole)
        assert (len(split.train), split.validation) == (total, None)
        assert split.class_counts[0] == ratio * split.class_counts[-1] == 50_000 // classes


DEFERRED = [name for name in NAMES if name.startswith("lt-") and "-ce-" not in name and "-cb-rw-" not in name]


@pytest.mark.parametrize("name", DEFERRED)
def test_weights_set_in_where_the_rate_first_falls(name):
    config = from_flat(read_recipe(name))
    loss = create_loss(config.method.loss)(torch.tensor([5000, 50]))
    assert isinstance(loss, Reweighted)
    assert loss.start == config.optim.milestones[0]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("adv-")])
def test_adversarial_header_tells_how_to_evaluate(name):
    command = f"pretask evaluate runs/{name}-seed0 --protocol pgd20 pgd100"
    assert f"# then: {command}" in recipe_text(name)
    assert f" --name {name}-seed0\n" in recipe_text(name)
    parsed(command.split()[1:])


def test_the_list_says_what_a_run_of_a_recipe_came_to(monkeypatch):
    for name in recipe_names():
        page = recipe_result(name).rpartition(", ")[2]
        assert not page or (Path(__file__).parents[2] / page).is_file(), name
    text = "# Title\n#\n# run here: 94.1 % (3 seeds), docs/results/page.md\ndata: cifar10\n"
    for module in (recipes, catalogue):
        monkeypatch.setattr(
            module, "recipe_text", lambda name: text if name == "sla-cifar10" else "# Other\n"
        )
    told = {line.split()[0]: line for line in catalogue.entries("recipes")}
    assert told["sla-cifar10"].endswith(" Title; run here: 94.1 % (3 seeds), docs/results/page.md")
    assert told["adv-cifar10"].endswith(" Other; run here: no")


def test_titles_differ():
    titles = [recipe_text(name).splitlines()[0] for name in NAMES]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", ["sla-cifar10", "sla-24fold-cub200", "sla-imagenet"])
def test_command_line_reads_the_recipe_and_flags_override_it(name):
    tokens = ["train", "--recipe", name, "--epochs", "7", "--seed", "3"]
    expected = from_flat({**read_recipe(name), "steps": None, "epochs": 7, "seed": 3})
    assert parsed(tokens).arguments["settings"].build(RunConfig) == expected


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(PretaskError, match="did you mean 'sla-cifar10'"):
        read_recipe("sla-cifar-10")


def test_unknown_flag_is_refused():
    with pytest.raises(cyclopts.CycloptsError):
        parsed(["train", "--recipee", "x"])
