"""What Binder and Colab start from: their files and badges, and what repo2docker makes of them."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

TOP = Path(__file__).parent.parent
BINDER = TOP / "binder"
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
OWNER_AND_NAME = REPOSITORY.removeprefix("https://github.com/")
CELLS = json.loads((TOP / "notebooks/quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
OPENING = "".join(CELLS[0]["source"])
README = (TOP / "README.md").read_text(encoding="utf-8")


def requirements() -> tuple[list[str], list[Requirement]]:
    """Binder's options for pip, and the packages that it names."""
    text = (BINDER / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    options = [line for line in lines if line.startswith("-")]
    return options, [Requirement(line) for line in lines if line not in options]


def python() -> str:
    """The Python that Binder is asked for, as 3.11."""
    return (BINDER / "runtime.txt").read_text(encoding="utf-8").strip().removeprefix("python-")


@pytest.fixture(scope="module")
def dockerfile() -> str:
    """The Dockerfile of a dry run of repo2docker, which needs no Docker."""
    pytest.importorskip("repo2docker")
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(TOP)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_binder_installs_the_project_itself_and_torch_for_the_cpu() -> None:
    options, _ = requirements()
    (editable,) = [option.removeprefix("-e ") for option in options if option.startswith("-e ")]
    folder, _, extra = editable.rstrip("]").partition("[")
    assert folder == "."
    assert extra in PROJECT["optional-dependencies"]
    (index,) = [option for option in options if option.startswith("--extra-index-url ")]
    assert index.endswith("/cpu")


def test_binder_takes_a_kernel_in_which_a_button_is_heard() -> None:
    _, named = requirements()
    (kernel,) = [found.specifier for found in named if found.name == "ipykernel"]
    (allowed,) = [
        found.specifier
        for found in map(Requirement, PROJECT["dependencies"])
        if found.name == "ipykernel"
    ]
    both = kernel & allowed
    # Binder's own environment brings 7.0.1; the tests of kernels run on 7.3 and later.
    assert [release for release in ("6.31.0", "7.0.1", "7.3.0") if release in both] == ["7.3.0"]


def test_binder_asks_for_a_python_that_the_project_allows() -> None:
    assert python() in SpecifierSet(PROJECT["requires-python"])


def test_repo2docker_builds_on_that_python(dockerfile: str) -> None:
    # The list of that Python's environment; names of files are written with -2e for a full stop.
    listed = re.sub(r"[.-]", lambda odd: f"-{ord(odd[0]):02x}", f"environment.py-{python()}-")
    assert listed in dockerfile


def test_repo2docker_installs_our_requirements_where_the_kernel_is(dockerfile: str) -> None:
    copied = dockerfile.index("COPY --chown=0:0 src/ ${REPO_DIR}/")
    installed = dockerfile.index(
        '${KERNEL_PYTHON_PREFIX}/bin/pip install --no-cache-dir -r "binder/requirements.txt"'
    )
    # `-e .` is read from the repository, which has to be there by then.
    assert copied < installed
    # One environment for server and kernel: the newer kernel takes the place of the older.
    assert "ENV KERNEL_PYTHON_PREFIX=${NB_PYTHON_PREFIX}" in dockerfile


@pytest.mark.parametrize("text", [README, OPENING], ids=["README", "quickstart"])
def test_the_badges_open_the_quickstart_of_this_repository(text: str) -> None:
    links = re.findall(r"\[!\[([^]]+)\]\((https://[^)]+\.svg)\)\]\(([^)]+)\)", text)
    assert {alt: link for alt, _, link in links} == {
        "Launch on Binder": f"https://mybinder.org/v2/gh/{OWNER_AND_NAME}/main"
        "?labpath=notebooks%2Fquickstart.ipynb",
        "Open in Colab": f"https://colab.research.google.com/github/{OWNER_AND_NAME}/blob/main"
        "/notebooks/quickstart.ipynb",
    }


def test_the_quickstart_installs_the_project_only_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    loads = next(index for index, source in enumerate(sources) if "%load_ext" in source)
    (installs,) = [source for source in sources[:loads] if "%pip" in source]
    code = TransformerManager().transform_cell(installs)
    ran: list[tuple[str, str]] = []
    shell = SimpleNamespace(run_line_magic=lambda name, line: ran.append((name, line)))
    exec(code, {"get_ipython": lambda: shell})
    assert ran == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(code, {"get_ipython": lambda: shell})
    assert ran == [("pip", f'install -q "lora_magic @ git+{REPOSITORY}"')]
