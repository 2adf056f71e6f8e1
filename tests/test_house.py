"""The rules of the house that no linter knows: rooms, sizes, and what may not be written."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.settings import compose

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for room in ("components", "flows") for path in (ROOT / room).rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_README_LINES = 400, 40, 40
FORBIDDEN_MODULES = {"utils", "common", "helpers", "misc"}
RECIPES = sorted(path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def docstrings_of(tree: ast.Module) -> set[int]:
    """Identities of the constants that are docstrings, which may name a stage."""
    bodies = (
        node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    )
    firsts = (body[0] for body in bodies if body)
    return {id(first.value) for first in firsts if isinstance(first, ast.Expr)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_file_is_longer_than_the_limit(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


def test_no_function_is_longer_than_the_limit() -> None:
    long = [
        f"{name_of(path)}:{function.lineno} {function.name}"
        for path in SOURCES
        for function in functions_of(path)
        if (function.end_lineno or 0) - function.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_no_code_but_the_recipe_knows_a_stages_name() -> None:
    stages = {
        name
        for recipe in RECIPES
        for name in compose([f"recipe={recipe}"], folder=ROOT / "conf")["recipe"]["stages"]
    }
    assert stages
    found = [
        f"{name_of(path)}:{node.lineno} {node.value!r}"
        for path in SOURCES
        for tree in [tree_of(path)]
        for known in [docstrings_of(tree)]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in stages and id(node) not in known
    ]
    assert found == []


def test_nobody_catches_everything() -> None:
    wide = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]
    assert wide == []


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [
        name_of(path) for path in SOURCES if FORBIDDEN_MODULES & {path.stem, *path.relative_to(ROOT).parts}
    ] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [name_of(path) for path in SOURCES if not ast.get_docstring(tree_of(path))] == []


def test_there_is_no_torchvision() -> None:
    assert importlib.util.find_spec("torchvision") is None, "it breaks transformers beside the CPU build of torch"


def test_the_import_contract_holds() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_project_does_nothing() -> None:
    """The command line's module brings in none of the heavy packages and makes no file."""
    code = "import sys, components.__main__, flows.run, flows.deploy, components.settings as s; " + (
        "print(sorted({'torch', 'transformers', 'mlflow', 'pandas', 'prefect', 'dvc', 'lightning', 'hydra'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_room_has_a_short_readme_that_names_its_modules() -> None:
    for room in sorted(path.parent for path in (ROOT / "components").glob("*/__init__.py")) + [ROOT / "flows"]:
        text = (room / "README.md").read_text()
        assert len(text.splitlines()) <= MAX_README_LINES, room.name
        named = set(re.findall(r"`([a-z_0-9]+\.py)`", text))
        assert {name for name in named if not any(room.rglob(name))} == set(), room.name
