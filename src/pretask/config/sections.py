"""The sections of a configuration: every field is a flag of the command line and a key of a YAML file.

Methods, losses, gates and other parts declare options of their own, which stand beside these keys. This module imports
nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pretask.options import BELOW_ONE, DECIDED, FREE, OPEN, SHARE, Named, Range, above, at_least, between

SEED = between(0, 2**63 - 1, "from 0 to 2^63 - 1")
ABOVE_0_TO_1 = Range(lambda value: 0 < value <= 1, "above 0 and at most 1")
PRETEXTS = Named("pretask.pretexts:PRETEXTS")
Kind = Literal["supervised", "pretraining", "episodes"]
"""Of a training, as `config.yaml` says it."""
Selection = Literal["validation", "last", "test"]


@dataclass(frozen=True)
class DataConfig:
    """Where images come from, how they are split, how they reach the device."""

    data: Annotated[str, "name, folder, .csv, … (pretask list data)"] = "digits"
    data_root: Annotated[str, FREE, "folder where named data sets are kept"] = "data"
    image_size: Annotated[int | None, at_least(1), DECIDED, "side of the images, in pixels"] = OPEN
    channels: Annotated[
        int | None, Range(lambda value: value in (1, 3), "1 or 3"), DECIDED, "1 or 3: convert the images"
    ] = OPEN
    skip_bad: Annotated[bool, "skip and count images that cannot be read"] = False
    validation: Annotated[float, at_least(0), "held out to select by, fraction or count"] = 0.1
    learn_from: Annotated[Literal["train", "all"], "images to train on; all: with validation"] = "train"
    test: Annotated[bool, "judge by the test images at the end"] = True
    per_class: Annotated[int | None, at_least(1), "train on this many images of each class"] = None
    label_fraction: Annotated[float | None, ABOVE_0_TO_1, "train on this fraction of each class"] = None
    imbalance: Annotated[float | None, at_least(1), "long tail: largest class to smallest, as a ratio"] = None
    imbalance_profile: Annotated[Literal["exponential", "step"], "of the long tail"] = "exponential"
    split_seed: Annotated[int | None, SEED, "of the splits; the run's where not given"] = None
    augment: Annotated[str, DECIDED, "of training images; auto follows the data"] = "auto"
    loader: Annotated[Literal["auto", "resident", "streaming"], "all on the device, or read from disk"] = (
        "auto"
    )
    workers: Annotated[int, at_least(0), FREE, "processes of the streaming loader"] = 4


@dataclass(frozen=True)
class MethodConfig:
    """What is learned from the images beside their labels."""

    method: Annotated[str, Named("pretask.methods:METHODS"), "sla, gssl, … (pretask list methods)"] = (
        "sla-fast"
    )
    pretexts: Annotated[
        tuple[str, ...], PRETEXTS, DECIDED, "to learn from, as in rotation or discard:groups=8"
    ] = ()
    loss: Annotated[str, Named("pretask.losses:LOSSES"), "ldam, … (pretask list losses)"] = "cross_entropy"
    mixup: Annotated[float, at_least(0), "Beta parameter of MixUp; 0 is off"] = 0.0
    cutmix: Annotated[float, at_least(0), "Beta parameter of CutMix; 0 is off"] = 0.0
    adversarial: Annotated[str, Named("pretask.attacks:ATTACKS"), "train on attacked images: fgsm, …"] = (
        "none"
    )
    low_resolution: Annotated[
        float | None, ABOVE_0_TO_1, DECIDED, "first train on images of this share of the side"
    ] = None
    low_resolution_share: Annotated[float | None, SHARE, DECIDED, "share of the training on small images"] = (
        None
    )


@dataclass(frozen=True)
class BackboneConfig:
    """The network."""

    backbone: Annotated[str, DECIDED, "resnet20, a timm model, …; auto: by image size"] = "auto"
    stem: Annotated[Literal["auto", "1", "2", "4"], "how much a ResNet's stem shrinks images"] = "auto"
    pretrained: Annotated[bool, "start from timm's published weights"] = False
    weights: Annotated[str | None, "start from this file of timm or torchvision"] = None
    init: Annotated[str | None, "start from the backbone of this run folder"] = None

    @property
    def published(self) -> bool:
        """Whether the network starts from published weights."""
        return self.pretrained or self.weights is not None


@dataclass(frozen=True)
class OptimConfig:
    """How the network is trained."""

    epochs: Annotated[int, at_least(1), "passes over the training images"] = 100
    steps: Annotated[int | None, at_least(1), "optimisation steps, instead of epochs"] = None
    batch_size: Annotated[int, at_least(1), "images in a step, on each process"] = 128
    accumulate: Annotated[int, at_least(1), "pieces of a batch, to need less memory"] = 1
    optimizer: Annotated[Literal["sgd", "adamw", "lars"], "lars is for large batches"] = "sgd"
    lr: Annotated[float, above(0), "highest learning rate"] = 0.1
    momentum: Annotated[float, BELOW_ONE, "of sgd; the first beta of adamw"] = 0.9
    nesterov: Annotated[bool, "Nesterov momentum for sgd"] = True
    weight_decay: Annotated[float, at_least(0), "not on biases with adamw, lars"] = 5e-4
    schedule: Annotated[Literal["cosine", "step", "one-cycle", "constant"], "learning rate"] = "cosine"
    warmup_epochs: Annotated[float, at_least(0), "of a rising learning rate"] = 1.0
    warmup_steps: Annotated[int | None, at_least(0), "the same in steps"] = None
    milestones: Annotated[tuple[float, ...], SHARE, "of the step schedule, fractions"] = (0.5, 0.75)
    decay: Annotated[float, above(0), "factor of the step schedule"] = 0.1
    clip_grad_norm: Annotated[float | None, above(0), "largest norm of the gradient"] = None
    ema: Annotated[float, BELOW_ONE, "decay of averaged weights; 0 is off"] = 0.0
    layer_decay: Annotated[float, ABOVE_0_TO_1, "of the learning rate, layer by layer"] = 1.0
    head_epochs: Annotated[float, at_least(0), "first epochs in which only new layers learn"] = 0.0


@dataclass(frozen=True)
class LabelledOptimConfig(OptimConfig):
    """How the network is trained with labels; what is left open follows from the data and the start."""

    epochs: Annotated[int, at_least(1), DECIDED, "passes over the training images"] = OPEN
    batch_size: Annotated[int, at_least(1), DECIDED, "images in a step, on each process"] = OPEN
    accumulate: Annotated[int, at_least(1), DECIDED, "pieces of a batch, to need less memory"] = OPEN
    optimizer: Annotated[Literal["sgd", "adamw", "lars"], DECIDED, "lars is for large batches"] = OPEN
    lr: Annotated[float, above(0), DECIDED, "highest learning rate"] = OPEN
    weight_decay: Annotated[float, at_least(0), DECIDED, "not on biases with adamw, lars"] = OPEN
    layer_decay: Annotated[float, ABOVE_0_TO_1, DECIDED, "of the learning rate, layer by layer"] = OPEN
    head_epochs: Annotated[float, at_least(0), DECIDED, "first epochs in which only new layers learn"] = OPEN


@dataclass(frozen=True)
class SessionConfig:
    """Where a run goes, on what it runs, what it keeps."""

    name: Annotated[str | None, FREE, "of the run's folder; else method-data-seed"] = None
    runs: Annotated[str, FREE, "folder of all runs"] = "runs"
    seed: Annotated[int, SEED, "of weights, order and augmentation"] = 0
    device: Annotated[str, "auto, cpu, cuda or mps"] = "auto"
    precision: Annotated[Literal["auto", "fp32", "bf16"], DECIDED, "auto: by what the device can do"] = "auto"
    compile: Annotated[
        Literal["auto", "yes", "graphs", "no"],
        DECIDED,
        "torch.compile; graphs: CUDA graphs",
    ] = "auto"
    channels_last: Annotated[bool, "memory format"] = True
    sync_batch_norm: Annotated[bool, "statistics over all processes"] = True
    shard_weights: Annotated[bool, "among processes (FSDP)"] = False
    threads: Annotated[int | None, between(1, 1024), DECIDED, "threads on the CPU"] = None
    max_seconds: Annotated[float | None, above(0), "end the training by then"] = None
    eval_every: Annotated[int, at_least(1), "epochs between validations"] = 1
    selection: Annotated[Selection, "by what weights are kept"] = "validation"
    checkpoint_seconds: Annotated[float, at_least(0), FREE, "between checkpoints"] = 60.0
    checkpoint_steps: Annotated[int | None, at_least(1), FREE, "between checkpoints, instead"] = None
    log_every: Annotated[int, at_least(1), FREE, "steps between readings of the loss"] = 20
    profile: Annotated[int, at_least(0), FREE, "first steps to profile"] = 0


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines one training with labels.

    Attributes:
        kind, words, command: of the training: its name in files and in messages, and the command for it.
        named_by: the key that names what is learned, in which the runs of a study differ.
        data: where images come from, how they are split, how they reach the device.
        method: what is learned from the images beside their labels.
        backbone: the network.
        optim: how it is trained.
        session: where the run goes, on what it runs, what it keeps.
        options: of the method, the loss and the attack, as far as they are given.
    """

    kind: ClassVar[Kind] = "supervised"
    words: ClassVar[str] = "training with labels"
    command: ClassVar[str] = "train"
    named_by: ClassVar[str] = "method"

    data: DataConfig = field(default_factory=DataConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    optim: LabelledOptimConfig = field(default_factory=LabelledOptimConfig)
    session: SessionConfig = field(default_factory=SessionConfig)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PretrainingConfig:
    """What is learned from images without labels."""

    method: Annotated[
        str, Named("pretask.pretraining:OBJECTIVES"), "trimix, simclr, byol, … (pretask list pretraining)"
    ] = "trimix"
    strength: Annotated[
        str, DECIDED, "how much views differ: small, photo, medical, upright; auto by the images"
    ] = "auto"


@dataclass(frozen=True)
class PretrainOptimConfig(OptimConfig):
    """How the network is pre-trained: stand-in settings, longer and with larger batches than with labels."""

    epochs: Annotated[int, at_least(1), "passes over the training images"] = 200
    batch_size: Annotated[int, at_least(1), "images in a step, on each process"] = 256
    lr: Annotated[float, above(0), "highest learning rate"] = 0.06
    warmup_epochs: Annotated[float, at_least(0), "of a rising learning rate"] = 10.0


@dataclass(frozen=True)
class PretrainSessionConfig(SessionConfig):
    """Where a pre-training goes, on what it runs, what it keeps."""

    eval_every: Annotated[int, at_least(1), "epochs between looks at the embeddings"] = 10
    selection: Annotated[Selection, "the last weights are kept: labels select nothing"] = "last"


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that determines one pre-training.

    Attributes:
        kind, words, command, named_by, data, backbone, session: as in `RunConfig`.
        pretraining: what is learned from images without labels.
        optim: how the network is pre-trained.
        options: of the objective and its base, as far as they are given.
    """

    kind: ClassVar[Kind] = "pretraining"
    words: ClassVar[str] = "pre-training"
    command: ClassVar[str] = "pretrain"
    named_by: ClassVar[str] = "method"

    data: DataConfig = field(default_factory=DataConfig)
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    optim: PretrainOptimConfig = field(default_factory=PretrainOptimConfig)
    session: PretrainSessionConfig = field(default_factory=PretrainSessionConfig)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodesConfig:
    """What an episode is, and how it is answered."""

    head: Annotated[
        str, Named("pretask.methods.episodic:HEADS"), "prototypes (nearest class mean) or ridge"
    ] = "prototypes"
    pretexts: Annotated[
        tuple[str, ...], PRETEXTS, DECIDED, "make an N-way episode one of N·M ways, as in rotation"
    ] = ()
    ways: Annotated[int, at_least(1), "classes in an episode"] = 5
    shots: Annotated[int, at_least(1), "images of each class to learn from"] = 1
    queries: Annotated[int, at_least(1), "images of each class to judge by"] = 15
    episodes: Annotated[int, at_least(1), "steps in an epoch"] = 100
    test_episodes: Annotated[int, at_least(1), "to test on; selection takes a third as many"] = 600


@dataclass(frozen=True)
class EpisodesOptimConfig(OptimConfig):
    """How the network is trained; the batch is an episode, whatever --batch-size says."""

    epochs: Annotated[int, at_least(1), "each of --episodes steps"] = 60
    lr: Annotated[float, above(0), "highest learning rate"] = 0.05


@dataclass(frozen=True)
class FewShotConfig:
    """Everything that determines one training by episodes.

    Attributes:
        kind, words, command, named_by, data, backbone, session: as in `RunConfig`.
        episodes: what an episode is, and how it is answered.
        optim: how the network is trained.
        options: of the head, as far as they are given.
    """

    kind: ClassVar[Kind] = "episodes"
    words: ClassVar[str] = "training by episodes"
    command: ClassVar[str] = "few-shot"
    named_by: ClassVar[str] = "head"

    data: DataConfig = field(default_factory=DataConfig)
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    optim: EpisodesOptimConfig = field(default_factory=EpisodesOptimConfig)
    session: SessionConfig = field(default_factory=SessionConfig)
    options: Mapping[str, Any] = field(default_factory=dict)
