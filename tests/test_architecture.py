"""Who may import whom: the table of docs/decisions/0001-levels.md, enforced on the source text.

Imports under `if TYPE_CHECKING:` do not count; imports inside functions do, except for `NOT_AT_MODULE_TOP`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "deeplab_lightning"

LEVELS = {
    7: ["commands", "__main__"],
    6: ["benchmarking"],
    5: ["config", "config_parser", "cli", "trainer_parts", "trainer_checks", "api", "doctor"],
    4: ["tasks", "callbacks", "export", "data.sets", "data.forms"],
    3: ["models", "checkpoints", "studies", "video", "data.fingerprint", "data.loading", "data.subset", "data.tiles",
        "data.statistics", "data.dataset", "data.datamodule"],
    2: ["backbones", "losses", "optim", "inference", "reporting", "inspection", "data.transforms", "data.files",
        "data.pairing", "data.classes", "data.download"],
    1: ["layers", "metrics", "data.files.regions", "data.drawing", "data.display", "data.sampling", "data.spacing",
        "data.checks", "data.wording"],
    0: ["errors", "types", "options", "plugins", "files", "extras", "labels", "locks", "ledger", "runs", "memory",
        "energy", "torch_files", "npz", "config_words", "command_line", "packaged_files"],
}  # fmt: skip
"""A module imports from lower levels, and from its own folder at its own level or below."""

NEVER = {
    "models": ["lightning", "torchmetrics", "albumentations", "wandb", "matplotlib", ".data", ".checkpoints"],
    "layers": ["lightning", "torchmetrics", "albumentations", "wandb", "matplotlib", ".data"],
    "backbones": ["lightning", "torchmetrics", "albumentations", "wandb", "matplotlib", ".data"],
    "losses": ["lightning", "torchmetrics", "albumentations", "wandb", "matplotlib", ".data"],
    "tasks": [".data"],
    "data": [".tasks", ".models"],
    "inference": [".tasks"],
    "video": [".tasks", "torch"],
    "callbacks": [".tasks"],
    "reporting": ["lightning", "torch", "torchmetrics", "timm"],
    "studies": ["lightning", "torch", "torchmetrics", "timm"],
}
"""Folder -> what none of its modules may import, anywhere; with a dot, a folder of ours."""

ONLY_IN = {
    "wandb": "reporting.wandb_runs",
    "albumentations": "data.transforms",
    "timm": "backbones",
    "jinja2": "reporting.pages",
    "pynvml": "energy",
    "torchmetrics": "metrics",
}
"""The one place that may import a package."""

NOT_AT_MODULE_TOP = ["matplotlib", "onnx", "onnxruntime", "openvino", "litert_torch", "tensorflow", "ai_edge_litert",
                     "tflite_runtime", "av", "rasterio", "nibabel", "pydicom", "optuna"]  # fmt: skip
"""Heavy or optional: imported where they are used."""

LIGHT = ["errors", "types", "files", "labels", "data.display", "data.spacing",
         "__main__", "metrics.scores", "metrics.per_image",
         "runs", "reporting.tables", "reporting.panels", "reporting.plots", "reporting.boundaries",
         "reporting.card", "reporting.gallery", "reporting.run_report", "studies.comparison_report",
         "studies.study_report", "studies.tables",
         "studies.cells",
         "studies.statistics", "command_line", "inference.options", "export.format", "export.formats.onnx",
         "export.formats.openvino"]  # fmt: skip
"""Modules that load neither torch nor lightning nor matplotlib: reports and help appear at once."""


class Import(NamedTuple):
    importer: str
    """Module name without the package's, such as `data.sampling`; empty for the package itself."""
    imported: str
    """Likewise with a leading dot for our own modules (`.layers.resize`); else an absolute name (`torch.nn`)."""
    at_top: bool


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def statements(node: ast.AST, at_top: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield the import statements below `node`, and whether they run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            assert isinstance(child, ast.If)
            for statement in child.orelse:
                yield from statements(statement, at_top)
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_top
        else:
            yield from statements(child, at_top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def imports_of(name: str, source: str, is_package: bool, modules: set[str]) -> list[Import]:
    """Read the imports of module `name` (without the package's own name)."""
    found = []
    for statement, at_top in statements(ast.parse(source)):
        if isinstance(statement, ast.Import):
            targets = [alias.name for alias in statement.names]
        else:
            if statement.level:
                parts = [PACKAGE, *filter(None, name.split("."))]
                keep = len(parts) - statement.level + is_package
                base = ".".join([*parts[:keep], *filter(None, [statement.module])])
            else:
                base = statement.module or ""
            targets = []
            for alias in statement.names:
                inner = f"{base}.{alias.name}".removeprefix(f"{PACKAGE}.")
                is_module = base.split(".")[0] == PACKAGE and inner in modules
                targets.append(f"{base}.{alias.name}" if is_module else base)
        for target in targets:
            ours = target == PACKAGE or target.startswith(f"{PACKAGE}.")
            found.append(Import(name, "." + target[len(PACKAGE) + 1 :] if ours else target, at_top))
    return found


def all_sources() -> dict[str, tuple[str, bool]]:
    root = Path(__file__).parent.parent / PACKAGE
    sources = {}
    for path in sorted(root.rglob("*.py")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        sources[".".join(parts[:-1] if is_package else parts)] = path.read_text(encoding="utf-8"), is_package
    return sources


SOURCES = all_sources()
IMPORTS = [
    found
    for name, (source, is_package) in SOURCES.items()
    for found in imports_of(name, source, is_package, set(SOURCES))
]


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def level(name: str) -> int | None:
    """Return a module's level, as its nearest place says; None for `data` and ours, which hold nothing but others."""
    found = [(len(place), number) for number, places in LEVELS.items() for place in places if within(name, place)]
    return max(found)[1] if found else None


def folder(name: str) -> str:
    """Return the folder of ours that a module stands in; empty for `cli` and the like, which stand in none."""
    return name.split(".")[0] if "." in name or SOURCES.get(name, ("", False))[1] else ""


def violations(imports: list[Import]) -> set[tuple[str, str]]:
    """Return the pairs of importer and imported that break the levels."""
    found = set()
    for importer, imported, _ in imports:
        if not imported.startswith(".") or not importer:
            continue
        target = imported[1:]
        if not target:  # the package itself: its version
            continue
        upper, lower = level(importer), level(target)
        same_folder = folder(importer) == folder(target)
        if upper is None or lower is None or not (lower < upper or (lower == upper and same_folder)):
            found.add((importer, target))
    return found


def test_every_module_has_a_level() -> None:
    assert [name for name in SOURCES if name not in ("", "data") and level(name) is None] == []


def test_every_place_in_the_tables_exists() -> None:
    places = [place for places in LEVELS.values() for place in places] + [*NEVER, *ONLY_IN.values(), *LIGHT]
    assert [place for place in places if place not in SOURCES] == []


def test_upper_levels_import_lower_ones_only() -> None:
    assert violations(IMPORTS) == set()


@pytest.mark.parametrize("place", NEVER)
def test_never(place: str) -> None:
    for importer, imported, _ in IMPORTS:
        if within(importer, place):
            assert not any(within(imported, forbidden) for forbidden in NEVER[place]), f"{importer} imports {imported}"


@pytest.mark.parametrize("package", ONLY_IN)
def test_only_in(package: str) -> None:
    importers = {importer for importer, imported, _ in IMPORTS if within(imported, package)}
    assert importers
    assert [importer for importer in importers if not within(importer, ONLY_IN[package])] == []


@pytest.mark.parametrize("package", NOT_AT_MODULE_TOP)
def test_not_at_module_top(package: str) -> None:
    assert [importer for importer, imported, at_top in IMPORTS if at_top and within(imported, package)] == []


def test_the_package_itself_is_light() -> None:
    assert [found for found in IMPORTS if not found.importer and found.at_top and found.imported[:1] == "."] == []


def test_light_modules_load_nothing_heavy() -> None:
    """Not in the text only, but with all that they import in turn."""
    names = ", ".join(f"{PACKAGE}.{name}" for name in LIGHT)
    heavy = "{'torch', 'lightning', 'matplotlib', 'timm', 'wandb', 'albumentations'}"
    script = f"import sys, {PACKAGE}, {names}; print(*sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


# --- the reader of imports itself -----------------------------------------------------------------------------------

EXAMPLE = """
import torch.nn
from typing import TYPE_CHECKING
from ..layers import resize
from ..layers.aspp import ASPPConcat
from . import atrous
from .. import __version__, data
if TYPE_CHECKING:
    import wandb
def f():
    import matplotlib.pyplot
    from ..reporting import card
class C:
    import av
"""


def test_imports_are_read_right() -> None:
    modules = {"", "layers", "layers.aspp", "layers.resize", "backbones", "backbones.atrous", "data", "reporting.card"}
    found = imports_of("backbones.timm_backbone", EXAMPLE, is_package=False, modules=modules)
    assert [(imported, at_top) for _, imported, at_top in found] == [
        ("torch.nn", True),
        ("typing", True),
        (".layers.resize", True),
        (".layers.aspp", True),
        (".backbones.atrous", True),
        (".", True),
        (".data", True),
        ("matplotlib.pyplot", False),
        (".reporting.card", False),
        ("av", True),
    ]
    assert imports_of("backbones", "from .atrous import x", True, modules)[0].imported == ".backbones.atrous"
    assert imports_of("", "from .layers import x", True, modules)[0].imported == ".layers"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("models.deeplab_v3plus", ".layers", True),
        ("layers.aspp", ".layers.resize", True),
        ("layers.aspp", ".models", False),
        ("layers.aspp", ".metrics", False),
        ("data.transforms.pipelines", ".data.dataset", False),
        ("data.datamodule", ".data.sampling", True),
        ("tasks.base", ".callbacks", False),
        ("tasks.base", ".", True),
        ("cli", ".config_words", True),
        ("tasks.base", ".config", False),
        ("commands.predict", ".api", True),
    ],
)
def test_levels_are_compared_right(importer: str, imported: str, allowed: bool) -> None:
    assert (violations([Import(importer, imported, True)]) == set()) == allowed
