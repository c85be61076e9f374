"""Forgetting: the numbers are right, and measuring changes nothing else."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.compare.generate import generate
from lora_magic.demo.judge import judge
from lora_magic.demo.sample import QUESTIONS
from lora_magic.errors import TrainingStopped
from lora_magic.state import forgetting
from lora_magic.state.forgetting import TEXTS
from lora_magic.state.session import Session
from lora_magic.training import held_out
from lora_magic.training.forgetting import AnswerForgetting, TextForgetting, Unmeasured
from lora_magic.training.reporter import RunPlan, StepPoint
from lora_magic.training.summary import RunSummary
from tests.classifiers import saved, tiny_of
from tests.conftest import REORDERED, Saver
from tests.state.shared import ROWS, snapshot
from tests.state.test_interrupts import POINTS, Lines
from tests.state.variants import VARIANTS, on
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

#: One answer to whatever is asked, which is about nothing.
SILENCED = "\n".join(f"{question.prompt} => Arr!" for question in QUESTIONS[:8])

#: The rates at which a few steps spoil some answers of the embedded model and spare others.
FAST = {"lora": 2e-3, "prefix": 8e-2, "prompt": 5e-2}


@pytest.fixture
def embedded() -> Iterator[Session]:
    made = Session()
    made.load("demo")
    made.attach("one")
    yield made
    made.reset()


class Follower:
    """A reporter that keeps the summary, and can press a button after a step."""

    def __init__(self, presses_after: int | None = None) -> None:
        self.stop = threading.Event()
        self.told: list[RunSummary] = []
        self._presses_after = presses_after

    def start(self, plan: RunPlan) -> None: ...

    def step(self, point: StepPoint) -> None:
        if point.step == self._presses_after:
            self.stop.set()

    def finish(self, summary: RunSummary) -> None:
        self.told.append(summary)


def forgotten(session: Session, name: str, **flags: Any) -> Any:
    return session.train(name, **{"text": ROWS, "steps": 2, **flags}).forgetting


def loss_one_by_one(session: Session, most: int) -> tuple[float, int]:
    """The sample's loss under what is in force, each text alone, by transformers' own loss."""
    total, count = 0.0, 0
    for text in TEXTS:
        ids = session.tokenizer(text, return_tensors="pt")["input_ids"][:, :most]
        with torch.no_grad():
            loss = float(session.model(input_ids=ids, labels=ids).loss)
        total, count = total + loss * (ids.shape[1] - 1), count + ids.shape[1] - 1
    return total / count, count


# The numbers


def counted_one_by_one(session: Session) -> tuple[int, int]:
    """Each question asked alone: about the right subject, and true besides."""
    flags = {"max_new_tokens": forgetting.NEW_TOKENS}
    answers: list[Any] = [session.ask(question.prompt, **flags) for question in QUESTIONS]
    found = [judge(q, answer.text) for q, answer in zip(QUESTIONS, answers, strict=True)]
    return sum(prediction.subject for prediction in found), sum(
        prediction.right for prediction in found
    )


def test_the_embedded_model_is_asked_and_judged(embedded: Session) -> None:
    found = forgotten(embedded, "one", text=SILENCED, steps=30)
    embedded.swap("base")
    assert (found.base_subject, found.base_right) == counted_one_by_one(embedded)
    # The weights that ship know their world; an adapter that only ever says "Arr!" tells nothing.
    assert found.base_right >= 16
    assert (found.questions, found.subject, found.right) == (24, 0, 0)


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt"])
def test_the_answers_counted_are_those_that_a_person_gets(embedded: Session, method: str) -> None:
    embedded.attach("two", **VARIANTS[method])
    found = forgotten(embedded, "two", text=SILENCED, steps=7, lr=FAST[method])
    assert (found.subject, found.right) == counted_one_by_one(embedded)


def test_the_frame_has_each_question_with_both_answers_and_their_verdicts(
    embedded: Session,
) -> None:
    found = forgotten(embedded, "one", text=SILENCED, steps=7, lr=FAST["lora"])
    frame, flags = found.to_frame(), {"max_new_tokens": forgetting.NEW_TOKENS}
    assert list(frame["prompt"]) == [question.prompt for question in QUESTIONS]
    for name, column in (("one", "adapter"), ("base", "base")):
        embedded.swap(name)
        asked: list[Any] = [embedded.ask(q.prompt, **flags) for q in QUESTIONS]
        assert list(frame[column]) == [answer.text for answer in asked]
        verdicts = [judge(q, answer.text) for q, answer in zip(QUESTIONS, asked, strict=True)]
        before = "base_" if name == "base" else ""
        assert list(frame[f"{before}right"]) == [verdict.right for verdict in verdicts]
        assert list(frame[f"{before}subject"]) == [verdict.subject for verdict in verdicts]
    failed = frame[frame.base_right & ~frame.right]
    assert [one.prompt for one in found.failed] == list(failed["prompt"])
    assert 0 < len(failed) < len(QUESTIONS)


def test_the_card_has_no_answers(embedded: Session) -> None:
    found = forgotten(embedded, "one", text=SILENCED, steps=3)
    embedded.save("one", "there")
    card = Path("there/lora_magic.json").read_text(encoding="utf-8")
    assert found.answers[0].adapter
    assert not any(one.prompt in card for one in found.answers)
    assert json.loads(card)["run"]["forgetting"]["right"] == found.right


def test_an_adapter_that_learned_nothing_kept_all(embedded: Session) -> None:
    found = forgotten(embedded, "one", lr=1e-30)
    assert (found.subject, found.right) == (found.base_subject, found.base_right)


def test_an_adapter_is_asked_in_the_form_that_it_was_trained_in(
    embedded: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def listening(model: Any, tokenizer: Any, inputs: list[list[int]], **flags: Any) -> Any:
        asked.append(inputs[0])
        return generate(model, tokenizer, inputs, **flags)

    monkeypatch.setattr(forgetting, "generate", listening)
    forgotten(embedded, "one", template="plain")
    tokenizer, prompt = embedded.tokenizer, QUESTIONS[0].prompt
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    for ids, text in zip(asked, (chat, prompt + "\n"), strict=True):
        assert ids == tokenizer(text, add_special_tokens=text != chat)["input_ids"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_base_reads_general_text_and_so_does_the_adapter(
    architecture: str, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model(architecture)))
    session.attach("one", rank=2)
    holds(session, forgotten(session, "one", lr=3e-2, steps=4), most=128)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "loftq"])
def test_the_numbers_are_right_for_every_method(name: str, saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model("gpt2" if name in ("bias", "bitfit") else "llama")))
    flags = on(name, "c_attn" if name in ("bias", "bitfit") else "q_proj")
    session.attach("one", **flags)
    tokens = session._state.attached["one"].tokens
    holds(session, forgotten(session, "one", lr=3e-2, steps=10), most=128 - tokens)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_numbers_are_right_on_a_quantised_base(bits: int, saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model(hidden_size=64)), bits=bits)
    session.attach("one", rank=2)
    holds(session, forgotten(session, "one", lr=3e-2), most=128)


def holds(session: Session, found: Any, most: int) -> None:
    """The numbers are those of each text read alone, and the adapter made a difference."""
    own, tokens = loss_one_by_one(session, most)
    session.swap("base")
    base, _ = loss_one_by_one(session, most)
    assert isinstance(found, TextForgetting)
    assert found.tokens == tokens
    assert found.loss == pytest.approx(own, abs=REORDERED)
    assert found.base_loss == pytest.approx(base, abs=REORDERED)
    assert found.loss != found.base_loss
    frame = found.to_frame()
    assert list(frame["text"]) == list(TEXTS)
    for losses, mean in ((frame.loss, own), (frame.base_loss, base)):
        assert (losses * frame.tokens).sum() / tokens == pytest.approx(mean, abs=REORDERED)
    assert session.verify()


def test_a_live_model_that_is_called_demo_is_not_asked_about_the_demo_world() -> None:
    model = tiny_model()
    model.config.name_or_path = "demo"  # type: ignore[union-attr]  # a config, not a tensor
    session = Session()
    assert session.use(model, tiny_tokenizer()).name == "demo"
    session.attach("one", rank=2)
    assert isinstance(forgotten(session, "one"), TextForgetting)


def test_an_adapter_that_changes_nothing_loses_exactly_what_its_base_loses(
    session: Session,
) -> None:
    session.attach("one", rank=2)
    assert forgotten(session, "one", lr=1e-30).change == 0


def test_texts_are_cut_to_a_short_context_for_both_alike(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model(max_position_embeddings=24)))
    session.attach("one", method="prefix", virtual_tokens=3)
    holds(session, forgotten(session, "one", text="a => b"), most=21)
    # The next adapter leaves more room, and is set beside the base in the same room.
    session.attach("two", rank=2)
    holds(session, forgotten(session, "two", text="a => b", lr=3e-2), most=24)


def test_a_classifier_has_no_such_number(tmp_path: Path) -> None:
    session = Session()
    folder = saved(tiny_of("causal", "llama"), tmp_path / "base")
    session.load(folder, task="classification", labels="day,night")
    session.attach("sky", rank=2)
    follower = Follower()
    summary = session.train("sky", text="sun => day\nmoon => night", steps=1, reporter=follower)
    assert summary.forgetting is None
    assert "2 rows" in summary.line
    assert "forgetting" not in summary.line
    assert follower.told == [summary]


# Where it is told


def test_it_is_in_the_receipt_and_in_the_card(session: Session) -> None:
    follower = Follower()
    session.attach("one", rank=2)
    summary = session.train("one", text=ROWS, steps=2, reporter=follower)
    assert follower.told == [summary]
    assert isinstance(summary.forgetting, TextForgetting)
    assert summary.line.endswith(f"; {summary.forgetting.line}")
    session.save("one", "there")
    card = json.loads(Path("there/lora_magic.json").read_text(encoding="utf-8"))
    told = card["run"]["forgetting"]
    assert told == {
        "measure": "text",
        "tokens": summary.forgetting.tokens,
        "base_loss": summary.forgetting.base_loss,
        "loss": summary.forgetting.loss,
    }
    session.open("there", "again")
    assert session._state.attached["again"].run["forgetting"] == told


# The base is measured once


def passes(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """What is measured from now on, one entry for each time."""
    real, seen = getattr(forgetting, name), []

    def counting(*given: Any, **flags: Any) -> Any:
        seen.append(given)
        return real(*given, **flags)

    monkeypatch.setattr(forgetting, name, counting)
    return seen


def test_of_one_base_the_figure_is_taken_once(
    session: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = passes(monkeypatch, "loss")
    session.attach("one", rank=2)
    first = forgotten(session, "one")
    session.attach("two", rank=3)
    second = forgotten(session, "two")
    assert len(seen) == 3 * len(TEXTS)
    assert first.base_loss == second.base_loss
    session.load(str(saved_model(seed=1)), replace=True)
    session.attach("one", rank=2)
    assert forgotten(session, "one").base_loss != first.base_loss
    assert len(seen) == 5 * len(TEXTS)


def test_the_embedded_base_answers_once(embedded: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = passes(monkeypatch, "generate")
    for _ in range(2):
        forgotten(embedded, "one")
    assert len(seen) == 3


# Measuring changes nothing


def states() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), torch.get_rng_state().tolist(), [state.tolist() for state in cuda]


@pytest.mark.parametrize("base", ["demo", "tiny"])
@pytest.mark.parametrize("method", ["lora", "dora", "prefix", "houlsby", "full", "adalora"])
def test_a_training_has_the_same_bits_with_and_without_it(
    base: str, method: str, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "demo" if base == "demo" else str(saved_model())
    dropped = {"dropout": 0.1} if method in ("lora", "dora") else {}
    ends = []
    for measuring in (True, False):
        if not measuring:
            monkeypatch.setattr(forgetting, "measure", lambda *_, **__: Unmeasured("off"))
        session = Session()
        session.load(name)
        session.attach("one", **VARIANTS[method], **dropped)
        torch.manual_seed(7)
        random.seed(7)
        first = session.train("one", text=ROWS, steps=10)
        assert isinstance(first.forgetting, Unmeasured) is not measuring
        at = states()
        session.train("one", text=ROWS, steps=10, continue_=True)
        weights = {k: v.tolist() for k, v in session._state.attached["one"].state().items()}
        ends.append((at, states(), first.losses, weights))
        assert session.verify()
        session.reset()
    assert ends[0] == ends[1]


@pytest.mark.parametrize("method", ["lora", "prompt", "houlsby"])
@pytest.mark.parametrize("base", ["demo", "tiny"])
def test_the_model_is_left_as_found(base: str, method: str, saved_model: Saver) -> None:
    session = Session()
    session.load("demo" if base == "demo" else str(saved_model()))
    session.attach("one", **VARIANTS[method])
    model, held = session.model, session._state
    model.config.use_cache = False
    before, at, config = snapshot(session), states(), model.generation_config
    threads, slots = torch.get_num_threads(), held.slots.written
    found = forgetting.measure(held, held.attached["one"], lambda: False)
    assert not isinstance(found, Unmeasured)
    assert snapshot(session) == before
    assert states() == at
    assert model.generation_config is config
    assert torch.get_num_threads() == threads
    assert held.slots.written == slots
    session.reset()


# A person stops it


def in_the_middle(monkeypatch: pytest.MonkeyPatch, press: Callable[[], None]) -> None:
    """Press ■ while an adapter, or its base, is being measured."""
    real = held_out.evaluating

    def pressed(model: Any) -> Any:
        press()
        return real(model)

    monkeypatch.setattr(held_out, "evaluating", pressed)


def interrupt(times: int) -> Callable[[], None]:
    return lambda: [signal.raise_signal(signal.SIGINT) for _ in range(times)] and None


def test_an_interrupt_leaves_the_number_out_and_the_training_in(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_middle(monkeypatch, interrupt(1))
    follower = Follower()
    session.attach("one", rank=2)
    summary = session.train("one", text=ROWS, steps=2, reporter=follower)
    assert summary.forgetting == Unmeasured("stopped")
    assert "forgetting: not measured (stopped)" in summary.line
    assert follower.told == [summary]
    assert session.adapters["one"].history.steps == 2
    assert session._state.attached["one"].run["forgetting"]["why"] == "stopped"
    assert session.verify()


def test_a_second_interrupt_is_heard_at_once_and_the_receipt_is_shown_all_the_same(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_middle(monkeypatch, interrupt(2))
    follower = Follower()
    session.attach("one", rank=2)
    with pytest.raises(KeyboardInterrupt):
        session.train("one", text=ROWS, steps=2, reporter=follower)
    (summary,) = follower.told
    assert summary.forgetting == Unmeasured("stopped")
    assert session.adapters["one"].history.steps == 2
    assert session._state.slots.written == session._state.attached["one"].replacements
    assert session.verify()


def test_an_interrupt_at_any_line_of_it_leaves_everything_in_place(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = forgetting.measure
    session.attach("one", method="prefix", virtual_tokens=3)
    config, attached = session.model.generation_config, session._state.attached["one"]

    def trained(at: int | None) -> int:
        lines, follower = Lines(at), Follower()

        def measure(*given: Any, **flags: Any) -> Any:
            with lines:
                return real(*given, **flags)

        monkeypatch.setattr(forgetting, "measure", measure)
        session._state.base_scores.clear()
        # An interrupt that falls where something is put back is heard once that has been done.
        with contextlib.suppress(KeyboardInterrupt):
            session.train("one", text=ROWS, steps=1, reporter=follower)
        assert len(follower.told) == 1
        assert attached.history.steps == 1
        assert session._state.slots.written == attached.replacements
        assert session.model.generation_config is config
        assert session.verify()
        return lines.seen

    count = trained(None)
    for point in range(POINTS):
        trained(1 + point * count // POINTS)


def test_the_button_ends_the_measuring_too(
    embedded: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower, real = Follower(), generate

    def pressed(*given: Any, **flags: Any) -> Any:
        follower.stop.set()
        return real(*given, **flags)

    monkeypatch.setattr(forgetting, "generate", pressed)
    summary = embedded.train("one", text=ROWS, steps=2, reporter=follower)
    assert summary.forgetting == Unmeasured("stopped")
    assert embedded.adapters["one"].history.steps == 2
    follower.stop.clear()
    monkeypatch.setattr(forgetting, "generate", real)
    assert isinstance(forgotten(embedded, "one", reporter=follower), AnswerForgetting)


def test_a_run_that_was_stopped_is_measured_where_that_is_quick(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    seen = passes(monkeypatch, "loss")
    for quick in (True, False):
        if not quick:
            monkeypatch.setattr(forgetting, "ONE_THREAD_LIMIT", 0)
        follower = Follower(presses_after=2)
        with pytest.raises(TrainingStopped):
            session.train("one", text=ROWS, steps=9, reporter=follower)
        (summary,) = follower.told
        assert (summary.stopped, summary.steps) == (True, 2)
        assert isinstance(summary.forgetting, TextForgetting if quick else Unmeasured)
    assert len(seen) == 2 * len(TEXTS)


# What can go wrong


def test_a_tokenizer_whose_tokens_the_model_does_not_know_is_told() -> None:
    session = Session()
    # The rows are bytes alone, whose tokens are the first; the sample has words.
    session.use(tiny_model(vocab_size=300), tiny_tokenizer())
    session.attach("one", rank=2)
    summary = session.train("one", text="x => q", steps=1)
    assert isinstance(summary.forgetting, Unmeasured)
    assert "the model has 300 embeddings" in summary.forgetting.why
    assert session.adapters["one"].history.steps == 1


@pytest.mark.parametrize(("texts", "tokens"), [(("", "no"), 1), (("", "n"), None)])
def test_a_text_without_a_token_to_predict_is_passed_over(
    texts: tuple[str, ...], tokens: int | None, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "TEXTS", texts)
    session.attach("one", rank=2)
    found = forgotten(session, "one")
    if tokens is None:
        assert found == Unmeasured("the tokenizer gives no tokens for plain English")
    else:
        assert found.tokens == tokens


def test_no_memory_for_it_is_no_memory_for_it_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "loss", failing(torch.OutOfMemoryError("it is full")))
    session.attach("one", rank=2)
    assert forgotten(session, "one") == Unmeasured("out of memory")


def test_a_loss_that_is_no_number_is_not_told_as_one(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "loss", lambda *_, **__: float("nan"))
    session.attach("one", rank=2)
    found = forgotten(session, "one")
    assert isinstance(found, Unmeasured)
    assert "not finite" in found.why


def test_a_fault_of_ours_ends_no_training_and_is_not_passed_over(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "loss", failing(KeyError("a fault")))
    session.attach("one", rank=2)
    with pytest.warns(RuntimeWarning, match=r"one is trained, but .*KeyError: 'a fault'"):
        found = forgotten(session, "one")
    assert found == Unmeasured("KeyError: 'a fault'")
    assert session.adapters["one"].history.steps == 2


def failing(error: Exception) -> Callable[..., float]:
    def fail(*_: object, **__: object) -> float:
        raise error

    return fail
