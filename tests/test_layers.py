"""The repository's own rules: imports point back along the flow, edge stays small, errors are caught by name."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pipeline

ROOT = Path(__file__).resolve().parent.parent
EDGE_MAY_IMPORT = {"message", "wire", "trackfile"}
CATCH_ALLS = {"pipeline.engine.guarded", "edge.link._run", "edge.watch._read"}
"""The process edges of docs/decisions/0004."""
DECLARE = {"os.environ.setdefault", "event.listen"}
FILE_LINES, BODY_LINES = 300, 40


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    known = modules()
    return {name for name in found if name in known and not is_package_of(name, found)} - {module_name(path)}


def is_package_of(name: str, found: set[str]) -> bool:
    """`from pipeline import wire` names the package only on the way to the module."""
    prefix = name + "."
    return any(other.startswith(prefix) and other in modules() for other in found)


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for package in ("pipeline", "edge") for path in sources(package)}


def unit(module: str) -> str:
    """`pipeline.rules.speed` belongs to `rules`; the package itself and its `__main__` to the command line."""
    parts = module.split(".")
    return "cli" if len(parts) == 1 or parts[1] == "__main__" else parts[1]


def layers() -> dict[str, int]:
    """Rank by unit, read from the docstring of `pipeline`, where the order is drawn."""
    text = (pipeline.__doc__ or "").split("\n\n")[-1]
    rows = re.sub(r"\s+", " ", text).strip().split(" < ")
    return {name.strip(): rank for rank, row in enumerate(rows) for name in row.split(",")}


def reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen, waiting = set[str](), [start]
    while waiting:
        for name in graph.get(waiting.pop(), set()) - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def test_the_docstring_names_units_that_exist() -> None:
    ranks = layers()
    assert list(ranks)[:4] == ["message", "wire", "ports", "settings"]
    assert set(ranks) <= {unit(name) for name in modules() if name.startswith("pipeline")}


def test_imports_point_back_along_the_flow() -> None:
    """Over any number of helpers between: what a unit uses, in the end, is never further along than itself."""
    graph: dict[str, set[str]] = {}
    for name, path in modules().items():
        if name.startswith("pipeline."):
            used = {unit(other) for other in imported(path) if other.startswith("pipeline.")}
            graph.setdefault(unit(name), set()).update(used - {unit(name)})
    ranks = layers()
    forward = [
        f"{name} uses {other}"
        for name in ranks
        for other in sorted(reached(name, graph) & set(ranks))
        if ranks[other] > ranks[name]
    ]
    assert forward == []


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {name: imported(path) for name, path in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_edge_takes_only_the_nouns_and_the_wire() -> None:
    taken = {
        f"{name} imports {other}"
        for name, path in modules().items()
        if name.startswith("edge")
        for other in imported(path)
        if other.startswith("pipeline") and other.removeprefix("pipeline.") not in EDGE_MAY_IMPORT
    }
    assert taken == set()


def test_what_edge_may_import_imports_nothing_more() -> None:
    for name in EDGE_MAY_IMPORT:
        used = {other.removeprefix("pipeline.") for other in imported(modules()[f"pipeline.{name}"])}
        assert used <= EDGE_MAY_IMPORT, name


def catch_alls(path: Path) -> Iterator[str]:
    """Functions that swallow everything; one whose handler ends in `raise` only cleans up."""
    for function in ast.walk(tree_of(path)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(swallowed(function)):
            yield function.name


def swallowed(function: ast.AST) -> Iterator[bool]:
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and not is_raise(node.body[-1]):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(
                c is None or (isinstance(c, ast.Name) and c.id in ("Exception", "BaseException")) for c in caught
            ):
                yield True


def is_raise(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise) and statement.exc is None


def test_everything_is_caught_at_the_named_process_edges_and_nowhere_else() -> None:
    places = [f"{name}.{function}" for name, path in modules().items() for function in catch_alls(path)]
    assert sorted(places) == sorted(CATCH_ALLS)
    assert sum(len(list(swallowed(tree_of(path)))) for path in modules().values()) == len(CATCH_ALLS)
    told = (ROOT / "docs" / "decisions" / "0004-process-edges.md").read_text("utf-8")
    for place in CATCH_ALLS:
        module, _, function = place.rpartition(".")
        assert re.search(rf"`{module}[.\w]*\.{function}`|`{place}`", told), place


def test_nothing_runs_at_import() -> None:
    """A module defines: calls that stand alone may only declare, or settle OpenCV's limits."""
    callers = [
        f"{name}:{node.lineno}"
        for name, path in modules().items()
        for node in tree_of(path).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not declares(node.value)
    ]
    assert callers == []


def declares(call: ast.Call) -> bool:
    text = ast.unparse(call.func)
    return text.rpartition(".")[2][:1].isupper() or text in DECLARE


def bodies(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length of each function, its docstring not counted."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_files_and_bodies_stay_small() -> None:
    """A budget, not a law: what is over it is listed as a warning. Only twice the budget fails."""
    over = []
    for name, path in modules().items():
        lines = len(path.read_text("utf-8").splitlines())
        over += [(lines / FILE_LINES, f"{name}: {lines} lines")]
        over += [(size / BODY_LINES, f"{name}.{body}: {size} lines in one body") for body, size in bodies(path)]
    for share, words in over:
        if share > 1:
            warnings.warn(f"over budget: {words}", stacklevel=1)
    assert [words for share, words in over if share > 2] == []
