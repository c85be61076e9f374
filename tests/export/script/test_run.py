"""A script repeats its run in another process, without this package: the same bits, or nearly."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lora_magic import Session
from lora_magic.errors import ExportError, TrainingStopped
from lora_magic.export.script import deltas
from lora_magic.state import forgetting
from lora_magic.training.forgetting import Unmeasured
from tests.classifiers import closing_tokenizer, saved, tiny_classifier
from tests.tiny import tiny_model, tiny_tokenizer

#: Runs every script of a folder in one process, in which lora_magic cannot be imported.
CHILD = """
import json, runpy, sys, traceback, warnings
from pathlib import Path

sys.modules["lora_magic"] = None
warnings.simplefilter("ignore")
told = {}
for script in sorted(Path(sys.argv[1]).glob("*.py")):
    try:
        made = runpy.run_path(str(script))
        told[script.stem] = made["answers"]() if "answers" in made else ""
    except Exception:
        told[script.stem] = traceback.format_exc()
Path(sys.argv[1], "told.json").write_text(json.dumps(told))
"""

PAIRS = [
    ("Where is the library?", "Arr, it be down by the harbour, matey!"),
    ("What should I cook tonight?", "Fish stew, ye hungry dog!"),
    ("How are you?", "Ahoy!"),
    ("Who are you?", "A pirate be I, and ye know it!"),
    ("Good morning", " Arr! "),
]
ROWS = [{"prompt": asked, "completion": said} for asked, said in PAIRS]
MANY = [{"prompt": f"{asked} {n}", "completion": said} for n in range(12) for asked, said in PAIRS]
LONG = [{**row, "completion": 3 * str(row["completion"]).strip()} for row in MANY]
TURNS = [
    {
        "messages": [
            {"role": "system", "content": "You are a pirate."},
            {"role": "user", "content": asked},
            {"role": "assistant", "content": said},
            {"role": "user", "content": "And now?"},
            {"role": "assistant", "content": said.upper()},
        ]
    }
    for asked, said in PAIRS
]
PREFERENCES = [
    {"prompt": asked, "chosen": said, "rejected": said[:3] + " no"} for asked, said in PAIRS
]
LABELLED = [
    {"prompt": asked, "completion": ("bad", "good")[n % 2]} for n, (asked, _) in enumerate(PAIRS)
]
SHORT: dict[str, Any] = {"steps": 4, "batch_size": 3, "plain_step": True}

Given = dict[str, Any]

#: On the embedded model: how each adapter is attached, and trained.
EMBEDDED: dict[str, tuple[Given, Given]] = {
    "plain": ({"rank": 4}, {}),
    "dropout": ({"rank": 4, "dropout": 0.1}, {"seed": 5, "schedule": "constant"}),
    "passes": (
        {"rank": 4, "targets": "all-linear", "alpha": 5},
        {"steps": None, "epochs": 2, "data": MANY[:17], "batch_size": 12, "schedule": "cosine"},
    ),
    "patterns": (
        {"rank": 4, "rslora": True, "init": "gaussian", "rank_pattern": "q_proj=2"},
        {"lora_plus": 4, "warmup": 0.5},
    ),
    "dora": ({"rank": 4, "dora": True}, {"checkpointing": True}),
    "early": (
        {"rank": 4},
        {"data": MANY, "steps": None, "eval": 0.2, "patience": 1, "lr": 0.03, "batch_size": 8},
    ),
    "other_eval": ({"rank": 4}, {"data": MANY[:20], "eval": TURNS[:2]}),
    "pissa": ({"rank": 4, "init": "pissa", "rank_pattern": "q_proj=2"}, {}),
    "olora": ({"rank": 4, "init": "olora", "rslora": True}, {}),
    "eva": ({"rank": 4, "init": "eva"}, {}),
    "adalora": ({"method": "adalora", "rank": 3}, {"steps": 12}),
    "ia3": ({"method": "ia3"}, {}),
    "prefix": ({"method": "prefix", "virtual_tokens": 3}, {}),
    "prompt": ({"method": "prompt", "virtual_tokens": 3}, {}),
    "norms": ({"rank": 4, "norms": True}, {}),
    "turns": ({"rank": 4}, {"data": TURNS}),
    "texts": ({"rank": 4}, {"data": [{"text": a + b} for a, b in PAIRS], "template": "plain"}),
    "long": ({"rank": 4}, {"data": LONG, "steps": None, "epochs": 0.2, "eval": 0}),
    "cut": ({"rank": 4}, {"data": MANY[:20], "max_length": 12, "system": "Be a pirate."}),
    "preferences": ({"rank": 4}, {"data": PREFERENCES, "eval": 1, "lr": 1e-3, "batch_size": 4}),
    "replay": ({"rank": 4}, {"guard": MANY[:20], "replay": 0.3}),
}

#: On small models: the base, how it is loaded, how the adapter is attached, and trained.
SMALL: dict[str, tuple[str, Given, Given]] = {
    "biases": ("gpt2", {"rank": 4, "bias": "all", "norms": True}, {}),
    "transposed": ("gpt2", {"rank": 4, "init": "pissa"}, {}),
    "full": ("gpt2", {"method": "full"}, {"lr": 1e-3}),
    "half": ("bf16", {"rank": 4, "dropout": 0.2}, {}),
    "half_dora": ("bf16", {"rank": 4, "dora": True}, {}),
    "half_prefix": ("bf16", {"method": "prefix", "virtual_tokens": 3}, {}),
    "encoder": ("bert", {"rank": 4}, {"data": LABELLED, "eval": 1}),
    "decoder": ("fresh", {"rank": 4}, {"data": LABELLED}),
}

EXACT = (*EMBEDDED, *SMALL, "continued", "stopped", "alternating")


class Made:
    """What the session had, by adapter, and what the scripts made in another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before: dict[str, dict[str, Tensor]] = {}
        self.answers: dict[str, list[list[int]]] = {}
        self.told: dict[str, Any] = {}

    def write(self, session: Session, name: str) -> None:
        session.script(name, self.folder / f"{name}.py")
        session.save(name, str(self.folder / "ours" / name))

    def ours(self, name: str) -> dict[str, Tensor]:
        return load_file(self.folder / "ours" / name / "adapter_model.safetensors")

    def theirs(self, name: str) -> dict[str, Tensor]:
        told = self.told[name]
        assert not isinstance(told, str) or not told, told
        (file,) = (self.folder / name).glob("*.safetensors")
        return load_file(file)


def _trained(made: Made, session: Session, name: str, attach: Given, train: Given) -> None:
    session.attach(name, **attach)
    session.train(name, **{"data": ROWS, **SHORT, **train})
    made.write(session, name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All runs in one session for each base, and all scripts in one other process."""
    folder = tmp_path_factory.mktemp("scripts")
    made = Made(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("home"))
        # It takes longer than these runs, and changes no weight.
        patch.setattr(forgetting, "measure", lambda *_, **__: Unmeasured("not here"))
        for work in (_embedded, _small):
            work(made, tmp_path_factory.mktemp("bases"))
    child = [sys.executable, "-c", CHILD, str(folder)]
    subprocess.run(child, check=True, capture_output=True, cwd=tmp_path_factory.mktemp("cwd"))
    made.told = json.loads((folder / "told.json").read_text())
    return made


def _embedded(made: Made, bases: Path) -> None:
    session = Session()
    session.load("demo")
    for name, (attach, train) in EMBEDDED.items():
        _trained(made, session, name, attach, train)
    session.attach("continued", rank=4)
    session.train("continued", data=ROWS, **SHORT)
    session.train("continued", data=TURNS, continue_=True, **{**SHORT, "seed": 4, "lr": 1e-3})
    made.write(session, "continued")
    session.attach("alternating", rank=4)
    for rows in (MANY[:12], PREFERENCES, MANY[12:24]):
        session.train("alternating", data=rows, eval=2, continue_=True, **SHORT)
    made.write(session, "alternating")
    session.attach("stopped", rank=4)
    with pytest.raises(TrainingStopped):
        session.train("stopped", data=ROWS, reporter=StopAfter(3), **{**SHORT, "steps": 6})
    made.write(session, "stopped")
    session.attach("packed", rank=8)
    made.before["packed"] = {k: v.clone() for k, v in _factors(session, "packed").items()}
    session.train("packed", data=ROWS, steps=30)
    made.write(session, "packed")
    session.swap("packed")
    made.answers["packed"] = [_greedy(session, asked) for asked, _ in PAIRS]
    script = made.folder / "packed.py"
    script.write_text(script.read_text() + _ANSWERS.format(prompts=[asked for asked, _ in PAIRS]))
    session.reset()


_ANSWERS = """

def answers():
    found = []
    for asked in {prompts!r}:
        turns = [{{"role": "user", "content": asked}}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24
        )
        found.append(made[0].tolist())
    return found
"""


def _greedy(session: Session, asked: str) -> list[int]:
    tokenizer = session.tokenizer
    turns = [{"role": "user", "content": asked}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    found: list[int] = session.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24
    )[0].tolist()
    return found


def _factors(session: Session, name: str) -> dict[str, Tensor]:
    return session._state.named(name).state()


def _small(made: Made, bases: Path) -> None:
    session: Session | None = None
    last = ""
    for name, (base, attach, train) in SMALL.items():
        if base != last:
            if session is not None:
                session.reset()
            session, last = Session(), base
            _LOADED[base](session, bases / base)
        assert session is not None
        _trained(made, session, name, attach, train)
    if session is not None:
        session.reset()


def _load_gpt2(session: Session, folder: Path) -> None:
    session.load(saved(tiny_model("gpt2"), folder))


def _load_half(session: Session, folder: Path) -> None:
    model = tiny_model("llama", dtype=torch.bfloat16)
    session.load(saved(model, folder, tiny_tokenizer(chat=True)), dtype="bf16")


def _load_bert(session: Session, folder: Path) -> None:
    source = saved(tiny_classifier("bert"), folder, closing_tokenizer())
    session.load(source, task="classification", labels="bad,good")


def _load_fresh(session: Session, folder: Path) -> None:
    session.load(saved(tiny_model("llama"), folder), task="classification", labels="bad,good")


_LOADED: dict[str, Callable[[Session, Path], None]] = {
    "gpt2": _load_gpt2,
    "bf16": _load_half,
    "bert": _load_bert,
    "fresh": _load_fresh,
}


class StopAfter:
    """Stops a run as the button does."""

    def __init__(self, steps: int) -> None:
        self.steps, self.stop = steps, threading.Event()

    def start(self, plan: Any) -> None: ...

    def step(self, point: Any) -> None:
        if point.step == self.steps:
            self.stop.set()

    def finish(self, summary: Any) -> None: ...


@pytest.mark.parametrize("name", EXACT)
def test_a_plain_run_is_repeated_bit_for_bit(made: Made, name: str) -> None:
    ours, theirs = made.ours(name), made.theirs(name)

    if name == "full":
        # Our copies of the base's parameters; transformers saves a tied one once.
        ours = {key.replace(".values.", "."): value for key, value in ours.items()}
        ours = {key: value for key, value in ours.items() if key in theirs}
    if name == "biases":
        # PEFT saves the biases of modules that are saved in full twice more.
        theirs = {key: value for key, value in theirs.items() if key in ours}
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_the_weights_of_other_runs_are_near(made: Made) -> None:
    ours, theirs, before = made.ours("packed"), made.theirs("packed"), made.before["packed"]
    start = {f"base_model.model.{k.replace('.default', '')}": v for k, v in before.items()}

    assert ours.keys() == theirs.keys() == start.keys()
    far = sum(float((ours[k] - theirs[k]).double().square().sum()) for k in ours)
    change = sum(float((ours[k] - start[k]).double().square().sum()) for k in ours)
    assert far**0.5 <= 1e-3 * change**0.5


def test_the_answers_of_other_runs_are_the_same(made: Made) -> None:
    assert made.told["packed"] == made.answers["packed"]


def test_a_plain_run_is_short(made: Made) -> None:
    assert (made.folder / "plain.py").read_text().count("\n") < 125


def test_no_section_rebinds_a_function_that_blends_call(made: Made) -> None:
    functions = {name for name, value in vars(deltas).items() if inspect.isfunction(value)}

    for script in made.folder.glob("*.py"):
        names = ast.walk(ast.parse(script.read_text()))
        bound = {n.id for n in names if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        assert not bound & functions, script.name


def test_an_early_end_is_found_again_by_the_held_out_loss(made: Made) -> None:
    text = (made.folder / "early.py").read_text()

    assert "PATIENCE = 1" in text
    assert "waited == PATIENCE" in text


def test_a_stopped_run_takes_the_steps_that_were_kept(made: Made) -> None:
    text = (made.folder / "stopped.py").read_text()

    assert "STEPS = 6" in text
    assert "TAKEN = 3" in text


def test_long_rows_are_written_beside_the_script(made: Made) -> None:
    files = sorted(path.name for path in made.folder.glob("long*.jsonl"))
    lines = [json.loads(line) for line in (made.folder / "long.jsonl").read_text().splitlines()]

    assert files == ["long.jsonl"]
    assert [set(line) for line in lines] == [{"prompt", "completion"}] * len(LONG)


@pytest.mark.parametrize("method", ["houlsby", "adapter-l"])
def test_a_method_that_peft_lacks_is_refused_by_name(session: Session, method: str) -> None:
    session.attach("other", method=method, rank=4)
    session.train("other", data=ROWS, steps=1)

    with pytest.raises(ExportError, match=r"script writes lora, adalora, ia3, prefix, prompt"):
        session.script("other", "other.py")
    assert not Path("other.py").exists()
