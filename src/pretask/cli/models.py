"""Commands that use a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pretask.cli.app import app, open_console, print_lines


@app.command
def evaluate(
    run: Path,
    /,
    *,
    protocol: tuple[str, ...] = ("accuracy",),
    inference: str | None = None,
    split: Literal["test", "validation", "train"] = "test",
    data: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    epsilon: float | None = None,
    per_class: int | None = None,
    label_fraction: float | None = None,
    seed: int | None = None,
    skip_bad: bool = False,
    format: Literal["table", "json"] = "table",
) -> None:
    """Evaluate a run by one or more protocols, for each of its inferences; attacks for its default one.

    The protocols knn, linear, ridge and few-shot use the features alone: they need no class head, and take data of any
    classes.

    Parameters
    ----------
    run
        a run folder
    protocol
        names of evaluators, each with options of its own where wanted, as in knn:k=5 or pgd20:epsilon=4; pretask list
        evaluators shows them
    inference
        one way to answer; all that the run offers where not given, and its default one under attack
    split
        of the run's data
    data
        the new place of the run's own images; or other data: with the same classes, taken as it is; of any classes,
        and split as for a training, for knn, linear and ridge
    batch_size
        images in a forward pass
    device
        auto, cpu, cuda or mps
    epsilon
        how far an attack may go, in 255ths of the pixel range: 8 is 8/255; the protocol's own where not given
    per_class
        training images of each class that knn, linear and ridge may learn from
    label_fraction
        the same as a fraction of each class
    seed
        chooses these images; the run's own where not given
    skip_bad
        leave out images that cannot be read
    format
        table for people, json for programs
    """
    from pretask.cli.results_text import evaluation_lines
    from pretask.evaluation.run import evaluate_run

    console = open_console()
    answer = evaluate_run(
        run,
        protocol,
        inference,
        split,
        data,
        batch_size,
        device,
        epsilon=None if epsilon is None else epsilon / 255,
        per_class=per_class,
        label_fraction=label_fraction,
        seed=seed,
        skip_bad=skip_bad,
    )
    print_lines(evaluation_lines(answer, format, console.width if console.is_terminal else None), console)


@app.command
def predict(
    run: Path,
    /,
    *images: Path,
    inference: str | None = None,
    top: int = 1,
    coverage: float | None = None,
    format: Literal["table", "csv", "json"] = "table",
    skip_bad: bool = False,
    device: str = "auto",
) -> None:
    """Label images by a trained run.

    Parameters
    ----------
    run
        a run folder, an export, or hf:owner/name for one on the Hugging Face Hub
    images
        picture files, or folders of them
    inference
        one way to answer; the run's default where not given
    top
        classes to name for each image
    coverage
        say "don't know" where no single class is sure enough: as in 0.95, the share of pictures like the validation
        images whose class is to be among the answers
    format
        table for people, csv or json for programs
    skip_bad
        leave out images that cannot be read, and say how many
    device
        auto, cpu, cuda or mps
    """
    from rich.console import Console

    from pretask.cli.results_text import prediction_lines
    from pretask.prediction import predict as label

    # What was left out goes to the error stream: the answers may be read by a program.
    answers = label(
        run,
        images,
        inference=inference,
        top=top,
        coverage=coverage,
        skip_bad=skip_bad,
        device=device,
        console=Console(stderr=True),
    )
    print_lines(prediction_lines(answers, format), open_console())


@app.command
def export(
    run: Path,
    /,
    to: Path | None = None,
    *,
    inference: str | None = None,
    format: Literal["safetensors", "torch-export", "onnx"] = "safetensors",
    with_preprocessing: bool = False,
    push: str | None = None,
    private: bool = False,
) -> None:
    """Write the deployable classifier of a run with its model card; `pretask predict` reads every format.

    Parameters
    ----------
    run
        a run folder
    to
        folder to write; the run's name and inference where not given
    inference
        the way to answer; the run's default where not given
    format
        safetensors for Python with pretask, torch-export for PyTorch alone, onnx for other programs
    with_preprocessing
        take a picture of any size, uint8 [H, W, 3], and prepare it inside; for torch-export and onnx
    push
        owner/name on the Hugging Face Hub to send the export to; made where there is none
    private
        make it private
    """
    from pretask.export import FORMATS, export_model
    from pretask.export import push as send

    folder = export_model(run, to, inference, format, with_preprocessing)
    print_lines([f"wrote {folder}: {FORMATS[format].file}, model.json, README.md"], open_console())
    if push is not None:
        print_lines([f"sent to {send(folder, push, private)}"], open_console())


@app.command
def explain(
    *runs: Path,
    parts: tuple[str, ...] = ("gradcam", "examples", "pretexts", "tsne", "pca"),
    images: tuple[Path, ...] = (),
    count: int = 6,
    points: int = 2000,
    inference: str | None = None,
    split: Literal["test", "validation", "train"] = "test",
    data: str | None = None,
    to: Path | None = None,
    format: Literal["png", "svg"] = "png",
    seed: int = 0,
    device: str = "auto",
    skip_bad: bool = False,
) -> None:
    """Draw where models look, what they answer and how their features lie, the same images for all of them.

    Parameters
    ----------
    runs
        run folders, of the same images and classes
    parts
        gradcam: what of an image speaks for the model's answer; examples: the surest right and wrong answers, and where
        models disagree; pretexts: what they do to an image; tsne, pca: features in two dimensions
    images
        picture files for gradcam and pretexts, in place of images drawn from the split
    count
        images drawn to be looked at, of each class in turn, and images in a row of examples
    points
        images at most whose answers or features are shown together
    inference
        the way to answer that is asked; each run's default where not given
    split
        of the data
    data
        in place of the first run's own, or their new place
    to
        folder to write; explain in the first run where not given
    format
        of the pictures
    seed
        draws images, and starts t-SNE
    device
        auto, cpu, cuda or mps
    skip_bad
        leave out images that cannot be read
    """
    from pretask.cli.results_text import explanation_lines
    from pretask.explain import explain as draw

    explained = draw(
        runs,
        parts=parts,
        images=images,
        count=count,
        points=points,
        inference=inference,
        split=split,
        data=data,
        to=to,
        format=format,
        seed=seed,
        device=device,
        skip_bad=skip_bad,
    )
    print_lines(explanation_lines(explained), open_console())
