"""Every line that a bare `%lora` suggests is typed, in every state, and none gives an error."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from lora_magic.adapters.methods import METHODS
from lora_magic.errors import AdapterError, Interrupted, LoraMagicError
from lora_magic.magics.parser import help_for
from lora_magic.magics.shell import KEPT_AS
from lora_magic.magics.verbs import VERBS
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_of
from tests.conftest import Saver
from tests.magics.conftest import Screen, TestingShell
from tests.tiny import tiny_model, tiny_tokenizer

PAIRS = "Where is the ship? => Arr, at sea!\nWho sails it? => Me crew!"
LABELLED = "The sun => day\nA moon => night\nMy sun => day\nMy moon => night"


@pytest.fixture
def session(saved_model: Saver) -> Iterator[Session]:
    """A session with a tiny Llama, in the place of this folder's recording one."""
    made = Session()
    made.load(str(saved_model()))
    yield made
    made.reset()


def steps(session: Session) -> int:
    """Of a run: AdaLoRA's schedule needs some."""
    return 10 if "adalora" in {one.spec.method for one in session.adapters.values()} else 2


def quick(command: str, session: Session, rows: str) -> str:
    """The cell to run, with few steps and few tokens."""
    if command.startswith("%%lora_train"):
        return f"{command} --steps {steps(session)}\n{rows}"
    labels = session.status().base.labels
    for verb in ("ask", "compare") if not labels else ():
        command = command.replace(f"%lora {verb} ", f"%lora {verb} --max-new-tokens 2 ")
    return command


@pytest.fixture
def bases(saved_model: Saver, tmp_path: Path) -> dict[str, Callable[[Session], Any]]:
    """What loads each kind of base: the embedded one, another, a classifier, one without words."""
    folder = saved(tiny_of("causal", "llama"), tmp_path / "labels")
    return {
        "demo": lambda session: session.load("demo"),
        "folder": lambda session: session.load(str(saved_model())),
        "Conv1D": lambda session: session.load(str(saved_model("gpt2", chat=False))),
        "live": lambda session: session.use(tiny_model(), tiny_tokenizer()),
        "classifier": lambda session: session.load(
            folder, task="classification", labels="day,night"
        ),
        "no tokenizer": lambda session: session.use(tiny_model()),
    }


@pytest.fixture
def typed(bare_shell: TestingShell) -> Iterator[Callable[[Session, str], None]]:
    """Types all that the status suggests; each line in the same state."""
    bare_shell.run("%load_ext lora_magic")

    def type_all(session: Session, rows: str) -> None:
        setattr(bare_shell, KEPT_AS, session)
        commands = session.status().next_commands
        assert commands
        active, merged = session.active, session.merged
        for command in commands:
            bare_shell.run(quick(command, session, rows))
            if session.merged and not merged:
                session.unmerge()
            if merged and not session.merged:
                session.merge(merged)
            elif session.active != active:
                session.swap(active)

    yield type_all
    kept = getattr(bare_shell, KEPT_AS, None)
    if kept is not None:
        kept.reset()


#: One method of each kind that the suggestions tell apart: merged or not, with a spectrum or not.
KINDS = ("lora", "prefix", "houlsby", "bitfit")
OTHERS = ("demo", "Conv1D", "live", "classifier", "no tokenizer")


def test_the_kinds_are_all_that_methods_differ_in() -> None:
    kinds = {
        name: (bool(each.not_merged), bool(each.no_spectrum), each.context)
        for name, each in METHODS.items()
    }
    assert {kinds[name] for name in KINDS} == set(kinds.values())


@pytest.mark.parametrize(
    ("method", "base"),
    [
        *((method, "folder") for method in METHODS),
        *((method, base) for base in OTHERS for method in KINDS),
    ],
)
def test_every_suggested_line_works(
    base: str,
    method: str,
    bases: dict[str, Callable[[Session], Any]],
    typed: Callable[[Session, str], None],
) -> None:
    session = Session()
    bases[base](session)
    rows = LABELLED if base == "classifier" else PAIRS
    typed(session, rows)
    if "pirate" in session.adapters:
        session.detach("pirate", discard=True)
    try:
        session.attach("one", method=method)
    except AdapterError:
        return  # This base has nothing for the method, as a Llama has no biases for BitFit.
    typed(session, rows)
    if base != "no tokenizer":
        session.train("one", text=rows, steps=steps(session))
    typed(session, rows)
    session.swap("base")
    typed(session, rows)
    if not METHODS[method].not_merged:
        session.merge("one")
        assert session.status().next_commands == ("%lora unmerge",)
        typed(session, rows)
        session.unmerge()
    session.attach("two", rank=2)
    typed(session, rows)
    if METHODS[method].context == "whole":
        session.swap("one=0.5,two=0.5")
        typed(session, rows)


def test_an_adapter_made_from_others_is_looked_at_and_not_trained(
    session: Session, typed: Callable[[Session, str], None]
) -> None:
    for name in ("one", "two"):
        session.attach(name, rank=2)
        session.train(name, text=PAIRS, steps=1)
    session.blend("both", "one=0.5 two=0.5")
    for name in ("one", "two"):
        session.detach(name, discard=True)
    session.swap("both")
    assert not any("train" in command for command in session.status().next_commands)
    typed(session, PAIRS)


def test_only_the_embedded_model_is_asked_its_own_question(
    bases: dict[str, Callable[[Session], Any]],
) -> None:
    for base, load in bases.items():
        session = Session()
        load(session)
        asks = [line for line in session.status().next_commands if "fox" in line]
        assert bool(asks) == (base == "demo"), base
        session.reset()


def test_a_trained_base_suggests_a_prompt_of_its_rows(session: Session) -> None:
    session.attach("one", rank=2)
    session.train("one", text=PAIRS, steps=1)
    assert "%lora compare Where is the ship?" in session.status().next_commands
    session.train("one", text='--seed "{x};" $y => Arr!', steps=1)
    (compare,) = (line for line in session.status().next_commands if "compare" in line)
    assert "seed" not in compare


@pytest.mark.parametrize("method", [name for name, m in METHODS.items() if m.no_spectrum])
def test_what_a_refused_spectrum_suggests_works(
    method: str, saved_model: Saver, bare_shell: TestingShell
) -> None:
    bare_shell.run("%load_ext lora_magic")
    for tokenizer in (tiny_tokenizer(), None):
        session = Session()
        # GPT-2 has biases.
        session.use(tiny_model("gpt2"), tokenizer)
        session.attach("one", method=method)
        setattr(bare_shell, KEPT_AS, session)
        with pytest.raises(AdapterError) as refused:
            session.spectrum("one")
        bare_shell.run(str(refused.value).partition("type: ")[2])
        session.reset()


def test_a_detach_that_would_lose_training_asks_and_both_its_ways_out_work(
    session: Session,
) -> None:
    for way in ("save", "discard"):
        session.attach("one", rank=2)
        session.detach("one")
        session.attach("one", rank=2)
        session.train("one", text=PAIRS, steps=1)
        with pytest.raises(LoraMagicError, match=r"%lora save one\) or add --discard") as refused:
            session.detach("one")
        assert "\n" not in str(refused.value)
        assert "one" in session.adapters
        if way == "save":
            session.save("one")
        session.detach("one", discard=way == "discard")
        assert not session.adapters


def test_a_blend_that_is_not_saved_is_not_detached_either(session: Session) -> None:
    session.attach("one", rank=2)
    session.train("one", text=PAIRS, steps=1)
    session.blend("half", "one=0.5")
    session.compress("one", "small", rank=1)
    for name in ("half", "small"):
        with pytest.raises(LoraMagicError, match="--discard"):
            session.detach(name)


def test_a_folder_that_is_not_there_is_named_before_what_would_be_lost(session: Session) -> None:
    session.attach("one", rank=2)
    session.train("one", text=PAIRS, steps=1)
    with pytest.raises(LoraMagicError) as refused:
        session.load("./nowhere")
    assert "nowhere" in str(refused.value)
    assert "save" not in str(refused.value)
    with pytest.raises(LoraMagicError, match="save first"):
        session.load("demo")


def test_the_help_says_what_a_method_lacks_in_words() -> None:
    text = help_for(VERBS["attach"])
    assert "prefix tuning: n·2·L·width; no merge, no weighted sum, no spectrum" in text
    assert "(not:" not in text


def test_reset_counts_one_changed_tensor_as_one(session: Session) -> None:
    with torch.no_grad():
        next(session.model.parameters()).view(-1)[0] += 1
    assert "CHANGED from outside the session in 1 tensor;" in session.reset().line


def test_the_wrong_base_is_told_in_one_line(
    session: Session, bare_shell: TestingShell, saved_model: Saver
) -> None:
    session.attach("one", rank=2)
    session.save("one", "kept")
    session.reset()
    session.load(str(saved_model("gpt2")))
    bare_shell.run("%load_ext lora_magic")
    setattr(bare_shell, KEPT_AS, session)
    with pytest.raises(LoraMagicError) as refused:
        bare_shell.run("%lora open kept")
    (line,) = refused.value._render_traceback_()
    assert "\n" not in line
    assert not session.adapters


@pytest.mark.parametrize("name", ["<b>x</b>", "my.adapter", "ü", "3rd", "x" * 80, "none"])
def test_a_name_that_no_adapter_can_have_is_not_suggested(name: str, session: Session) -> None:
    with pytest.raises(LoraMagicError) as refused:
        session.swap(name)
    suggested = str(refused.value).rpartition("%lora attach ")[2]
    assert suggested
    session.attach(suggested, rank=2)
    assert session.active == suggested


def test_an_interrupted_comparison_shows_its_answers_and_ends_the_cell(
    shell: TestingShell, session: Session
) -> None:
    setattr(shell, KEPT_AS, session)
    session.attach("one", method="ia3")
    passes: list[int] = []

    def stop(*_: Any) -> None:
        passes.append(1)
        if len(passes) == 3:
            signal.raise_signal(signal.SIGINT)

    handle = session.model.register_forward_hook(stop)
    screen = Screen()
    with (
        patch.object(shell.display_pub, "publish", screen.publish),
        pytest.raises(Interrupted, match="shown above"),
    ):
        shell.run_cell("%lora compare --max-new-tokens 9 Hi").raise_error()
    handle.remove()
    (seen,) = screen.outputs
    assert "stopped by you" in seen["text/plain"]
    assert "stopped by you" in seen["text/html"].replace("\u00a0", " ")
    assert len(passes) < 9, "one pass a token: it did not go on to the end"
    assert session.verify()
