"""Scripts of blends and compressions: run by plain PEFT in another process, they give our ΔW."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_magic.adapters.spec import AdapterSpec
from lora_magic.errors import AdapterError, ExportError, StateError
from lora_magic.export.script.made import parts
from lora_magic.export.script.notebook import notebook
from lora_magic.export.script.script import program
from lora_magic.export.script.source import About, Part, distinct
from lora_magic.export.script.steps import Compressed, Opened
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_classifier
from tests.conftest import Saver, perturb
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [(f"Where is number {n}?", f"Here, {n}.") for n in range(6)]
PLAIN: dict[str, Any] = {"steps": 3, "batch_size": 2, "plain_step": True, "checkpoint_every": 0}

#: Runs scripts as a person does, one after another, and writes what their `model` does.
CHILD = """
import runpy, sys, torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

def product(layer):
    if "default" in layer.lora_A:
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    else:
        a, b = layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
    return (layer.scaling["default"] * b.double() @ a.double()).detach()

for script in sys.argv[1:]:
    model = runpy.run_path(script)["model"]
    found = {
        path.removeprefix("base_model.model."): product(layer)
        for path, layer in model.named_modules() if isinstance(layer, LoraLayer)
    }
    with torch.no_grad():
        found["logits"] = model(input_ids=torch.arange(10, 26)[None]).logits
    save_file(found, f"{script}.safetensors")
"""


def in_another_process(folder: Path, *scripts: str) -> None:
    """Run them where this package cannot be found."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", CHILD, *scripts]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def opened(session: Session, name: str, **spec: Any) -> None:
    """An adapter with a ΔW that no run made: trained parameters of the base move, too."""
    session.attach(name, **spec)
    perturb(session, name, 0.05, seed=len(name))
    generator = torch.Generator().manual_seed(1)
    for key, tensor in session._state.attached[name].tensors():
        if "lora_" not in key:
            tensor.data += 0.01 * torch.randn(tensor.shape, generator=generator)
    session.save(name, f"{name}-saved")
    session.detach(name, discard=True)
    session.open(f"{name}-saved", name)


#: Adapters made from those that are opened, and how.
MADE: dict[str, Any] = {
    "sum": lambda s: s.blend("sum", "a=0.7 rs=-0.3"),
    "cut": lambda s: s.blend("cut", "a=1 rs=1", rank=2),
    "ties": lambda s: s.blend("ties", "a=0.7 rs=0.3", method="ties"),
    "dare": lambda s: s.blend("dare", "a=0.7 rs=0.3", method="dare", seed=3),
    "magnitude": lambda s: s.blend("magnitude", "a=0.5 rs=1.5", method="magnitude", rank=5),
    "trained": lambda s: s.blend("trained", "a=1 full=0.5"),
    "pissa": lambda s: s.blend("pissa", "p=0.5 rs=1"),
    "dense": lambda s: s.blend("dense", "a=1 dora=0.5", rank=4),
    "chain": lambda s: s.compress("sum", "chain", rank=2),
    "energy": lambda s: s.compress("full", "energy", energy=0.7),
    "budget": lambda s: s.compress("a", "budget", budget=2),
    "undora": lambda s: s.compress("dora", "undora", rank=2),
    "fewer": lambda s: s.compress("rs", "fewer", remove_intruders=True),
    "alone": lambda s: s.open("a-saved", "alone"),
}


def classifier(folder: Path) -> str:
    """The script of a blend with a trained head; beside it the notebook's logits."""
    session = Session()
    base = saved(tiny_classifier("llama"), folder / "classifier")
    session.load(base, task="classification", labels=["good", "bad"])
    for name, rank in (("one", 2), ("other", 3)):
        opened(session, name, rank=rank)
    session.blend("head", "one=0.5 other=0.7")
    session.swap("head")
    with torch.no_grad():
        logits = session.model(input_ids=torch.arange(10, 26)[None]).logits
    save_file({"logits": logits}, folder / "head.safetensors")
    script = str(session.script("head").file)
    session.reset()
    return script


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Path]]:
    """Everything that scripts write, made by one other process; gpt2's layers are Conv1D."""
    folder, before = tmp_path_factory.mktemp("scripts"), Path.cwd()
    os.chdir(folder)
    tiny_model("gpt2").save_pretrained("base")
    tiny_tokenizer(chat=True).save_pretrained("base")
    session = Session()
    session.load(str(folder / "base"))
    opened(session, "a", rank=4, targets="all-linear", rank_pattern="mlp.c_fc=3")
    opened(session, "rs", rank=3, alpha=5, rslora=True)
    opened(session, "full", rank=3, targets="wte,c_attn", bias="all", norms=True)
    opened(session, "p", rank=3, init="pissa")
    opened(session, "dora", rank=3, dora=True)
    scripts = []
    for name, make in MADE.items():
        make(session)
        scripts.append(str(session.script(name).file))
    session.attach("t", rank=2)
    session.attach("u", rank=3)
    session.train("t,u", ROWS, **PLAIN)
    session.blend("both", "t=0.6 u=0.5")
    session.train("both", ROWS[:4], **PLAIN)
    session.train("t", ROWS[3:], continue_=True, **PLAIN)
    session.blend("again", "both=1 t=1")
    scripts += [str(session.script("again").file), classifier(folder)]
    in_another_process(folder, *scripts)
    yield session, folder
    session.reset()
    os.chdir(before)


def differs(session: Session, name: str, found: dict[str, Tensor]) -> float:
    """‖ΔW − ΔW'‖ / ‖ΔW‖ over all modules."""
    own = session._state.attached[name].updates()
    assert set(own) == set(found)
    pairs = [(update.dense(torch.float64), found[path]) for path, update in own.items()]
    lost = sum(float((one - other).norm()) ** 2 for one, other in pairs)
    return (lost / sum(float(one.norm()) ** 2 for one, _ in pairs)) ** 0.5


@pytest.mark.parametrize("name", [*MADE, "again"])
def test_a_script_gives_our_update_in_another_process(
    room: tuple[Session, Path], name: str
) -> None:
    session, folder = room
    found = load_file(folder / f"{name}.py.safetensors")
    logits = found.pop("logits")
    session.swap(name)
    with torch.no_grad():
        own = session.model(input_ids=torch.arange(10, 26)[None]).logits
    assert float((logits - own).abs().max()) < 1e-5
    assert differs(session, name, found) < 1e-6


def test_parents_are_written_once_and_what_was_made_otherwise_has_another_name(
    room: tuple[Session, Path],
) -> None:
    _, folder = room
    text = (folder / "again.py").read_text()
    # `t` was blended after its first run, and again after its second.
    titles = [line for line in text.splitlines() if line.startswith("# %% ")]
    assert titles.count("# %% u: saved") == titles.count("# %% both: saved") == 1
    assert titles.count("# %% t: saved") == titles.count("# %% t_2: saved") == 1
    assert titles.index("# %% both: saved") < titles.index("# %% again = 1·both + 1·t")
    assert "lora_magic" not in text.partition('"""\n')[2]


def test_a_classifier_s_head_is_blended(room: tuple[Session, Path]) -> None:
    _, folder = room
    # The notebook's logits, which the fixture has written.
    found, own = load_file(folder / "head.py.safetensors"), load_file(folder / "head.safetensors")
    assert float((found["logits"] - own["logits"]).abs().max()) < 1e-5


# What is written


def test_the_receipt_shows_what_was_written(session: Session) -> None:
    opened(session, "a", rank=2)
    made = session.script("a")
    assert (made.name, made.file, made.files[0][0]) == ("a", Path("a.py"), "a.py")
    text = Path("a.py").read_text()
    assert made.text == text
    assert made.lines == len(text.splitlines())
    assert made.files[0][1] == len(text.encode())
    assert made.line == f"a: {made.lines} lines in {len(made.parts)} sections written to a.py"
    shown = made._repr_mimebundle_()
    plain = str(shown["text/plain"]).splitlines()
    assert plain[0] == made.line
    assert plain[1] == "  run it: python a.py"
    assert plain[3].startswith('"""a on ')
    assert len(plain) == 16
    assert "<pre" in str(shown["text/html"])
    assert "load_base()" in str(shown["text/html"])


def test_a_program_is_python_whatever_a_title_or_a_heading_says() -> None:
    odd = 'a\\N{x}"""\nimport nothing'
    text = program(odd, [Part("two\nlines", "x = 1")])
    names: dict[str, Any] = {}
    exec(text, names)
    assert names["x"] == 1
    assert names["__doc__"] == odd
    with pytest.raises(ExportError, match=r"line \d+ would be no Python"):
        program("", [Part("", "x =")])


def test_a_notebook_is_valid_and_runs(session: Session, tmp_path: Path) -> None:
    opened(session, "a", rank=2)
    made = session.script("a", notebook=True)
    assert made.file == Path("a.ipynb")
    assert made.command == "jupyter execute a.ipynb"
    read = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    nbformat.validate(read)
    code = [cell.source for cell in read.cells if cell.cell_type == "code"]
    assert code == [part.code.strip() for part in made.parts]
    read.cells.append(nbformat.v4.new_code_cell("print(model.peft_config['default'].r)"))
    client = NotebookClient(read, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert read.cells[-1].outputs[0].text == "2\n"


def test_a_notebook_s_sections_are_cells() -> None:
    cells = json.loads(notebook("Title\n\nmore\n", [Part("One", "x = 1\ny = 2\n")]))["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "markdown", "code"]
    assert "".join(cells[0]["source"]) == "# Title\n\nmore"
    assert cells[1]["source"] == ["## One"]
    assert cells[2]["source"] == ["x = 1\n", "y = 2"]
    assert len({cell["id"] for cell in cells}) == 3


# What is refused


def refused(session: Session, says: str, *given: Any, **flags: Any) -> None:
    before = sorted(Path.cwd().iterdir())
    with pytest.raises((ExportError, StateError, AdapterError), match=says) as found:
        session.script(*given, **flags)
    assert "\n" not in str(found.value)
    assert sorted(Path.cwd().iterdir()) == before


def test_states_without_one_adapter_with_a_run(session: Session) -> None:
    session.attach("fresh", rank=2)
    refused(session, "fresh is not trained, so there is nothing to write")
    refused(session, "base is not an adapter", "base")
    refused(session, "no adapter 'frsh'", "frsh")
    opened(session, "a", rank=2)
    session.blend("b", "a=2")
    session.swap("a=1,b=1")
    refused(session, "several adapters are active")
    session.swap("base")
    refused(session, "no adapter is active")
    session.merge("a")
    refused(session, "unmerge")
    session.unmerge()


def test_files_that_are_there_or_cannot_be(session: Session) -> None:
    opened(session, "a", rank=2)
    Path("a.py").write_text("mine")
    refused(session, "a.py is there already; add --replace", "a")
    assert Path("a.py").read_text() == "mine"
    session.script("a", replace=True)
    assert "mine" not in Path("a.py").read_text()
    Path("folder.py").mkdir()
    refused(session, "folder.py is no file", "a", "folder.py", replace=True)
    refused(session, "ends in .py", "a", "script.txt")
    refused(session, "ends in .ipynb", "a", "script.py", notebook=True)
    refused(session, "there is no folder nowhere", "a", "nowhere/a.py")
    refused(session, "the adapter's comes first; type: %lora script a b.py", "b.py")


@pytest.mark.parametrize("name", ["json", "torch", "safetensors"])
def test_a_program_does_not_hide_a_library(session: Session, name: str) -> None:
    opened(session, name, rank=2)
    refused(session, f"%lora script {name} train_{name}.py", name)
    refused(session, f"in place of the library {name}", name, Path.cwd() / f"{name}.py")
    session.script(name, notebook=True)


def test_a_program_does_not_overwrite_what_it_reads(session: Session, tmp_path: Path) -> None:
    opened(session, "a", rank=2)
    session.detach("a")
    Path("a-saved").rename("a")
    session.open("a")
    session.script("a")  # reads it only
    (tmp_path / "elsewhere").mkdir()
    session.train("a", ROWS, continue_=True, **PLAIN)
    refused(session, "it would write a over the folder a there", "a", replace=True)
    session.script("a", "elsewhere/a.py")


def test_a_title_s_code_is_written_again_after_another() -> None:
    one, other = Part("Tokens", "a = 1"), Part("Tokens", "a = 2")
    assert distinct((one, one, other, other, one)) == (one, other, one)


def test_a_full_disk_leaves_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(session, "a", rank=2)

    def full(self: Path, *_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    refused(session, "No space left on device")


def test_parts_that_no_script_can_make(session: Session) -> None:
    opened(session, "a", rank=2)
    session.attach("fresh", rank=2)
    session.blend("with_fresh", "a=1 fresh=1")
    refused(session, "fresh was not trained when with_fresh was made", "with_fresh")
    opened(session, "scaled", method="ia3")
    session.blend("with_ia3", "a=1 scaled=1", rank=2)
    refused(session, r"with_ia3 was made from scaled \(\(IA\)³\)", "with_ia3")
    opened(session, "neck", method="houlsby")
    refused(session, "Houlsby.*, which PEFT does not have", "neck")


def test_a_folder_that_has_changed_since_it_was_opened(session: Session) -> None:
    opened(session, "a", rank=2)
    config = Path("a-saved", "adapter_config.json")
    config.write_text(config.read_text() + " ")
    refused(session, "from which a was opened, has other files now", "a")
    shutil.rmtree(config.parent)
    refused(session, "from which a was opened, is gone", "a")


def test_weights_that_are_quantised_cannot_be_read_back(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model()), bits=4)
    opened(session, "a", rank=3)
    session.compress("a", "small", rank=2)
    assert "load_in_4bit=True" in session.script("small").text
    session.compress("a", "fewer", remove_intruders=True)
    refused(session, "depends on weights that are quantised", "fewer")
    session.reset()


def test_an_adapter_of_the_hub_is_fetched_again(session: Session) -> None:
    state = session._state
    about = About(state.base, state.slots.shapes, "x")
    spec = AdapterSpec(rank=2, alpha=4.0, targets="all-linear")
    made = parts(about, "x", (Compressed("far", (Opened("owner/far", spec),), 1, None, None),))
    text = program("", made)
    assert "from huggingface_hub import snapshot_download" in text
    assert 'found, trained = read(Path(snapshot_download("owner/far")), base)' in text
