"""This release opens and runs what earlier releases saved, and accepts their commands.

`keep.py` made each folder in this one on the day of a release, `demo-2026-11` for the weights that
were replaced then; none is ever made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from safetensors.torch import load_file

from lora_magic.errors import AdapterError
from lora_magic.magics.parser import parse
from lora_magic.magics.verbs import VERBS
from lora_magic.state.session import Session
from tests.conftest import REORDERED
from tests.earlier.keep import last_logits

HERE = Path(__file__).parent
RELEASES = sorted(folder for folder in HERE.iterdir() if (folder / "base").is_dir())
ADAPTERS = [folder for release in RELEASES for folder in sorted((release / "adapters").iterdir())]
FLAGS = [
    (release.name, line)
    for release in RELEASES
    for line in (release / "flags.txt").read_text(encoding="utf-8").splitlines()
]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session()
    yield made
    made.reset()


def load(session: Session, release: Path, tmp_path: Path, labels: bool = False) -> None:
    """The base under its original name, which the cards contain."""
    shutil.copytree(release / "base", tmp_path / "base")
    if labels:
        session.load("base", task="classification", labels="good,bad")
    else:
        session.load("base")


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: f"{path.parts[-3]}-{path.name}")
def test_a_saved_adapter_answers_as_it_did(folder: Path, session: Session, tmp_path: Path) -> None:
    release = folder.parents[1]
    kept = load_file(release / "logits.safetensors")
    load(session, release, tmp_path, labels=folder.name == "labels")
    opened = session.open(str(folder))
    # Its run was in one process, and does not say so.
    assert opened.workers == ""
    then, now = kept[folder.name], last_logits(session)
    assert torch.allclose(now, then, rtol=0, atol=REORDERED)
    if folder.name != "labels":  # The base has no such head.
        assert not torch.allclose(kept["base"], then, rtol=0, atol=10 * REORDERED)
        session.swap("base")
        assert torch.allclose(last_logits(session), kept["base"], rtol=0, atol=REORDERED)
    assert session.verify()


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_every_kind_of_adapter_was_kept(release: Path) -> None:
    kinds = {path.name for path in (release / "adapters").iterdir()}
    methods = {"lora", "adalora", "ia3", "prefix", "prompt", "houlsby", "adapter-l", "bitfit"}
    assert methods | {"full", "labels", "dora", "rslora", "pissa", "olora"} <= kinds


@pytest.mark.parametrize(("release", "line"), FLAGS, ids=str)
def test_a_flag_of_an_earlier_release_is_accepted(release: str, line: str) -> None:
    name, _, flag = line.partition(" ")
    verb = VERBS[name]
    word = "x " if any(not argument.is_flag for argument in verb.arguments) else ""
    parsed = parse(verb, word + flag, str, cell=False)
    assert len(parsed.flags) == 1


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_the_quickstart_of_an_earlier_release_runs(release: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(release / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "unchanged" in "".join(str(cell.get("outputs")) for cell in notebook.cells[-4:])


@pytest.mark.parametrize("has_its_size", [False, True])
def test_an_adapter_of_earlier_weights_of_the_embedded_model_is_refused(
    session: Session, tmp_path: Path, has_its_size: bool
) -> None:
    folder = tmp_path / "saved"
    shutil.copytree(HERE / "demo-2026-11", folder)
    card = json.loads((folder / "lora_magic.json").read_text(encoding="utf-8"))
    session.load("demo")
    base = session._state.base
    then, now = card["base"]["fingerprint"], base.fingerprint.digest
    named = f"parameters, and demo is a LlamaForCausalLM of {base.parameters:,}"
    if has_its_size:
        card["base"]["parameters"] = base.parameters
        (folder / "lora_magic.json").write_text(json.dumps(card), encoding="utf-8")
        named = f"was made for demo with the weights {then}, and those of demo are {now}"
    with pytest.raises(AdapterError) as refused:
        session.open(str(folder))
    assert named in str(refused.value)
    assert not session.adapters
