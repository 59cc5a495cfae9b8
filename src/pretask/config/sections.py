"""The typed configuration of one run. Every field is a flag of the command line and a key of a YAML file.

This module imports nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

Kind = Literal["supervised", "pretraining", "episodes"]
"""Of a training, as `config.yaml` says it."""
GateMode = Literal["frozen", "learned", "uniform", "fixed", "normalised", "aligned"]


@dataclass(frozen=True)
class DataConfig:
    """Where images come from, how they are split, how they reach the device."""

    data: str = "digits"
    """a name (digits, cifar10, …), a folder of class folders, a parquet file or folder, an .npz, hf:owner/name, or
    hf://datasets/owner/name to leave its parquet files on the Hub"""
    data_root: str = "data"
    """folder in which named data sets are looked for, or downloaded to"""
    image_size: int | None = None
    """side in pixels to which images are resized; found when all have one size"""
    channels: int | None = None
    """1 or 3: convert the images; found when all agree"""
    skip_bad: bool = False
    """count and skip images that cannot be read instead of stopping"""
    validation: float = 0.1
    """held out of training for selection where there is no validation set: a fraction below 1, or a count"""
    per_class: int | None = None
    """train on this many images of each class"""
    label_fraction: float | None = None
    """train on this fraction of each class"""
    imbalance: float | None = None
    """make the training set long-tailed: ratio of the largest class to the smallest"""
    imbalance_profile: Literal["exponential", "step"] = "exponential"
    """how class sizes fall in a long-tailed training set"""
    split_seed: int | None = None
    """seed of all splits; the run's seed where not given"""
    augment: str = "auto"
    """augmentation of training images; auto is what the data set recommends"""
    loader: Literal["auto", "resident", "streaming"] = "auto"
    """resident keeps all images on the device as uint8, streaming reads them from disk; auto decides by size"""
    workers: int = 4
    """processes that read and augment for the streaming loader"""


@dataclass(frozen=True)
class MethodConfig:
    """What is learned from the images beside their labels."""

    method: str = "sla"
    """baseline, da, mt, sla, sla-sd, … (pretask list methods)"""
    pretexts: tuple[str, ...] = ()
    """transformations to learn from, with options as in discard:groups=8; the method's own where not given"""
    layer: str | None = None
    """layer after which features are changed, as in blocks.9; the end of the network where not given"""
    views: int | None = None
    """views of each image in a step, drawn at random; all, or the method's own number, where not given"""
    batch_of: Literal["auto", "images", "views"] = "auto"
    """what --batch-size counts: images, or their views, so that methods with many views take as many more steps; auto
    takes the method's own"""
    low_resolution: float | None = None
    """side of images in the first part of the training, as a share of their full side; 1 is full size throughout"""
    low_resolution_share: float | None = None
    """share of the training in which images have that size; half where not given"""
    view_reduction: Literal["mean", "sum"] = "mean"
    """how the losses of an image's views are reduced"""
    loss: str = "cross_entropy"
    """classification loss: cross_entropy, ldam, focal, … (pretask list losses)"""
    label_smoothing: float = 0.0
    """share of the target spread over all labels"""
    ldam_margin: float = 0.5
    """largest margin of ldam, that of the rarest class"""
    ldam_scale: float = 30.0
    """what ldam multiplies the cosines of its head by"""
    focal_gamma: float = 2.0
    """how much the focal loss turns away from images that are right already"""
    class_weights: Literal["none", "inverse", "effective"] = "none"
    """weights against class imbalance: one over the images of a class, or over their effective number"""
    effective_beta: float = 0.9999
    """beta of the effective number"""
    reweight_from: float = 0.0
    """share of the training after which class weights set in; 0.8 is deferred re-weighting (DRW)"""
    pretext_weight: float | None = None
    """total weight of the pretext heads' losses; 1 in mt, 0.1 in lorot and gssl where not given"""
    pretext_scale: float | None = None
    """what cosines of pretext heads beside an ldam head are multiplied by; as the class head where not given"""
    gate: tuple[GateMode, ...] = ("learned",)
    """how several pretext heads share the weight; several gates are variants of a study"""
    gate_weights: tuple[float, ...] = ()
    """of the pretext heads, for the fixed gate; scaled to sum to one"""
    gate_floor: float = 0.3
    """share of the weight that the normalised gate spreads evenly"""
    gate_temperature: float = 0.1
    """of the softmax over cosines in the aligned gate"""
    distill_temperature: float = 1.0
    """temperature of self-distillation in sla-sd"""
    distill_weight: float = 1.0
    """weight of the distilled head's own cross-entropy in sla-sd"""
    pseudo_threshold: float = 0.95
    """confidence from which fixmatch takes a guess for a label"""
    align_guesses: bool = False
    """bring guesses of fixmatch to the class frequencies of the labels (distribution alignment)"""
    unlabelled_weight: float = 1.0
    """weight of unlabelled images in fixmatch"""
    unlabelled_ratio: int = 7
    """unlabelled images in a step of fixmatch for each labelled one"""
    mixup: float = 0.0
    """MixUp with this Beta parameter; 0 is off"""
    cutmix: float = 0.0
    """CutMix with this Beta parameter; 0 is off; with MixUp one of both is drawn each step"""
    adversarial: str = "none"
    """attack whose images are trained on: none, fgsm, pgd10, … in place of the clean ones"""
    epsilon: float | None = None
    """radius of that attack, in 255ths of the pixel range; its own (8, or 128 in L2) where not given"""


@dataclass(frozen=True)
class BackboneConfig:
    """The network."""

    backbone: str = "auto"
    """resnet20 … resnet110, wrn-28-10, resnet12, or any timm model; auto follows the image size"""
    pretrained: bool = False
    """start from timm's published weights"""
    init: str | None = None
    """start from the backbone of this run, as pre-trained by `pretask pretrain`"""


@dataclass(frozen=True)
class OptimConfig:
    """How the network is trained."""

    epochs: int = 100
    """passes over the training images"""
    steps: int | None = None
    """optimisation steps, instead of epochs"""
    batch_size: int = 128
    """images in a step, or views of images (--batch-of), on each process"""
    accumulate: int = 1
    """equal pieces in which a step's batch goes through the network, to need less memory"""
    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"
    """sgd with momentum, adamw, or lars, which is sgd for large batches"""
    lr: float = 0.1
    """highest learning rate"""
    momentum: float = 0.9
    """of sgd; the first beta of adamw"""
    nesterov: bool = True
    """Nesterov momentum for sgd"""
    weight_decay: float = 5e-4
    """on all weights with sgd; not on biases and normalisation with adamw and lars"""
    schedule: Literal["cosine", "step", "one-cycle", "constant"] = "cosine"
    """how the learning rate moves after the warm-up"""
    warmup_epochs: float = 1.0
    """epochs in which the learning rate rises linearly"""
    warmup_steps: int | None = None
    """the same in steps, instead of epochs"""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """for the step schedule: where the rate is multiplied by the decay, as fractions of the training"""
    decay: float = 0.1
    """factor of the step schedule"""
    clip_grad_norm: float | None = None
    """largest norm of the gradient; none where not given"""
    ema: float = 0.0
    """decay of an exponential moving average of the weights, which is then what is evaluated; 0 is off"""


@dataclass(frozen=True)
class SessionConfig:
    """Where a run goes, on what it runs, what it keeps."""

    name: str | None = None
    """the run's folder below --runs; made from method, data and seed where not given"""
    runs: str = "runs"
    """folder of all runs"""
    seed: int = 0
    """of weights, order, augmentation and drawn views"""
    device: str = "auto"
    """auto, cpu or cuda"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 runs the network under autocast; auto takes it where it is faster"""
    compile: Literal["auto", "yes", "graphs", "no"] = "auto"
    """torch.compile; auto means yes on a GPU, graphs replays steps as CUDA graphs"""
    channels_last: bool = True
    """memory format of images and weights"""
    sync_batch_norm: bool = True
    """share batch statistics among processes, so that W processes give the gradient of one"""
    shard_weights: bool = False
    """share weights, their gradients and the optimiser's state out among processes (FSDP), for networks that do not fit
    on each"""
    threads: int | None = None
    """threads on the CPU; torch decides where not given"""
    eval_every: int = 1
    """epochs between validations; the last epoch is always validated"""
    selection: Literal["validation", "last", "test"] = "validation"
    """which epoch's weights are kept; test is optimistic and is stamped on the result"""
    checkpoint_seconds: float = 60.0
    """longest time between checkpoints"""
    checkpoint_steps: int | None = None
    """steps between checkpoints, instead of seconds"""
    log_every: int = 20
    """steps between readings of loss and accuracy from the device"""
    profile: int = 0
    """first steps to profile: a trace, and a table of where their time went, in the run folder"""


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines one run.

    Attributes:
        kind, words, command: of the training, its name in files and in messages, and the command for it.
        data: where images come from, how they are split, how they reach the device.
        method: what is learned from the images beside their labels.
        backbone: the network.
        optim: how it is trained.
        session: where the run goes, on what it runs, what it keeps.
    """

    kind: ClassVar[Kind] = "supervised"
    words: ClassVar[str] = "training with labels"
    command: ClassVar[str] = "train"

    data: DataConfig = field(default_factory=DataConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    session: SessionConfig = field(default_factory=SessionConfig)


MAY_DIFFER_ON_RESUME = frozenset(
    {
        "name",
        "runs",
        "threads",
        "workers",
        "checkpoint_seconds",
        "checkpoint_steps",
        "log_every",
        "profile",
        "data_root",
    }
)
"""Keys that do not change what a run computes."""

DECIDED_AT_START = frozenset(
    {
        "backbone",
        "augment",
        "pretexts",
        "views",
        "batch_of",
        "low_resolution",
        "low_resolution_share",
        "pretext_weight",
        "epsilon",
        "precision",
        "compile",
        "base",
        "strength",
    }
)
"""Keys that may be left open ("auto", empty or None); the first start of a run decides them."""
