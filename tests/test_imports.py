"""The house stands on its floors: nothing imports upwards, there are no circles, and help needs no torch."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pretask
from command_line import picture, untrained_run

SOURCE = Path(pretask.__file__).parent
FLOORS = (
    {"errors", "options", "specs", "registry", "statistics", "io"},
    {"pretexts", "losses", "backbones", "attacks", "distributed"},
    {"methods"},
    {"pretraining"},
    {"data"},
    {"config"},
    {"training"},
    {"evaluation"},
    {"reports"},
    {"tasks"},
    {"export", "explain"},
    {"prediction"},
    {"checks"},
    {"studies"},
    {"fitting"},
    {"speed"},
    {"cli", "__main__"},
)
FLOOR = {part: level for level, parts in enumerate(FLOORS) for part in parts}
# The command line prints help from these, which import nothing but each other.
LIGHT = {
    "pretask.options",
    "pretask.specs",
    "pretask.registry",
    "pretask.errors",
    "pretask.config.sections",
    "pretask.io.redaction",
    "pretask.io.signals",
    "pretask.cli.app",
    "pretask.cli.checking",
    "pretask.cli.fitting",
    "pretask.cli.flags",
    "pretask.cli.machine",
    "pretask.cli.models",
    "pretask.cli.studies",
    "pretask.cli.training",
    "pretask.studies.execution",
}


def modules() -> dict[str, Path]:
    """Every module of the package by its full name."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(("pretask", *parts))] = path
    return found


MODULES = modules()


def imports(name: str, *, at_load: bool) -> Iterator[str]:
    """Yield the modules of this package that a module imports; with `at_load` only while it is loaded."""
    tree = ast.parse(MODULES[name].read_text())
    nodes = _nodes_at_load(tree) if at_load else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "pretask")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            if (node.module or "").split(".")[0] == "pretask":
                yield from (_module_of(str(node.module), alias.name) for alias in node.names)


def _module_of(module: str, name: str) -> str:
    return f"{module}.{name}" if f"{module}.{name}" in MODULES else module


def _nodes_at_load(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _nodes_at_load(child)


def part_of(name: str) -> str:
    """Return "data" for "pretask.data.images.containers"."""
    return name.split(".")[1]


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"pretask"}))
def test_nothing_imports_upwards(name):
    for target in imports(name, at_load=False):
        assert target != "pretask", f"{name} imports the package's face instead of a module"
        assert FLOOR[part_of(target)] <= FLOOR[part_of(name)], f"{name} imports {target} from above"


@pytest.mark.parametrize("part", ["pretexts", "losses", "backbones", "attacks", "distributed"])
def test_the_parts_of_the_ground_floor_do_not_know_each_other(part):
    for name in MODULES:
        if name != "pretask" and part_of(name) == part:
            known = {part_of(target) for target in imports(name, at_load=False)}
            assert known <= {part, "errors", "registry", "options", "specs", "io"}, name


def test_data_and_methods_do_not_know_each_other():
    for name in set(MODULES) - {"pretask"}:
        known = {part_of(target) for target in imports(name, at_load=False)}
        if part_of(name) == "data":
            assert not known & {"methods", "pretraining", "losses", "backbones", "pretexts"}, name
        if part_of(name) in ("methods", "pretraining"):
            assert "data" not in known, name


def test_modules_load_without_circles():
    @cache
    def loads(name: str) -> frozenset[str]:
        """The modules whose code runs because `name` is loaded: imports and the packages around them."""
        packages = _packages(name)
        found = set(imports(name, at_load=True))
        around = {package for target in found for package in _packages(target)} - packages
        return frozenset((found | around) - {name, "pretask"})

    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in sorted(loads(name)):
                visit(target, (*path, name))
            done.add(name)

    for name in sorted(MODULES):
        visit(name, ())


def _packages(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:n]) for n in range(2, len(parts))}


def test_the_command_line_loads_nothing_heavy():
    assert set(imports("pretask.cli.main", at_load=True)) <= LIGHT
    for name in LIGHT:
        assert set(imports(name, at_load=True)) <= LIGHT


@pytest.mark.parametrize(
    "code",
    [
        "import pretask; dir(pretask); pretask.PretaskError",
        "import runpy; sys.argv = ['pretask', '--help']; leave(lambda: runpy.run_module('pretask'))",
        "from pretask.cli.main import main; leave(lambda: main(['train', '--help']))",
        "from pretask.cli.main import main; leave(lambda: main(['train', '--epoch', '1']))",
    ],
    ids=["import", "help", "train-help", "unknown-flag"],
)
def test_torch_is_imported_only_for_work(code):
    script = f"""
import contextlib, sys

def leave(act):
    with contextlib.suppress(SystemExit):
        act()

{code}
heavy = {{"torch", "torchvision", "timm", "numpy", "accelerate"}} & set(sys.modules)
sys.exit(" ".join(sorted(heavy)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SLOW = {
    "torchvision", "torch._dynamo", "torch._inductor", "torch.distributed.fsdp", "torch.distributed.tensor", "sympy",
    "torchmetrics", "scipy", "sklearn", "matplotlib", "pandas", "timm", "kornia", "lightly", "captum", "datasets",
}  # fmt: skip
_WATCHED = """
import os, sys
from pretask.cli.main import main

def end(text=""):
    sys.__stdout__.write(text)
    sys.__stdout__.flush()
    os.write(2, " ".join(sys.modules).encode())
    os._exit(0)

if UNTIL_A_LINE:
    sys.stdout = type("Watched", (), {"write": lambda self, text: end(text), "flush": lambda self: None})()
try:
    main(sys.argv[1:])
except SystemExit as left:
    assert not left.code, left.code
    end()
"""


def slow_and_said(arguments: str, folder: Path, *, until_a_line: bool = False) -> tuple[set[str], str]:
    """Return the slow packages that a command has loaded at its first line, or its end; and what it printed."""
    command = [sys.executable, "-c", f"UNTIL_A_LINE = {until_a_line}\n{_WATCHED}", *arguments.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return SLOW & set(done.stderr.split()), done.stdout


@pytest.mark.parametrize("command", ["train", "pretrain --method simclr", "few-shot --ways 2"])
def test_a_training_says_what_it_works_on_before_slow_packages_are_loaded(command: str, tmp_path: Path):
    flags = "--data digits --backbone resnet8 --epochs 1 --device cpu --threads 1"
    slow, line = slow_and_said(f"{command} {flags}", tmp_path, until_a_line=True)
    assert line.startswith("data      digits: ") and slow == set()


def test_slow_packages_are_not_loaded_for_what_has_no_use_for_them(tmp_path: Path):
    slow, said = slow_and_said("list methods", tmp_path)
    assert "\nsla " in said and slow == set()
    untrained_run(tmp_path / "run", size=(8, 8), method="baseline")
    picture(tmp_path / "picture.png", (8, 8))
    slow, said = slow_and_said("predict run picture.png --device cpu", tmp_path)
    assert said.startswith("picture.png  ") and slow == set()


def test_help_answers_within_half_a_second():
    seconds = [_processor_seconds([sys.executable, "-m", "pretask", "--help"]) for _ in range(5)]
    assert min(seconds) < 0.5, seconds


def _processor_seconds(command: list[str]) -> float:
    """Time on the processor, which other work on the machine hardly changes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_every_public_name_is_there():
    for name in pretask.__all__:
        assert getattr(pretask, name) is not None
    assert set(dir(pretask)) == set(pretask.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = pretask.trian


def test_public_names_are_what_they_say_after_every_module_is_imported() -> None:
    """A function and a module of one name would shadow each other."""
    clashes = {name for name in pretask.__all__ if f"pretask.{name}" in MODULES}
    assert clashes == set()
