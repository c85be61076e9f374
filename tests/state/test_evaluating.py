"""`evaluate`: what is measured, what it leaves on the adapters, and what it refuses.

Answers are checked against `ask`, one prompt at a time; losses in tests/evaluation.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from lora_magic.data.row import Row
from lora_magic.errors import (
    AdapterError,
    CommandError,
    DataError,
    LoraMagicError,
    PromptError,
    StateError,
)
from lora_magic.evaluation.evaluation import COLUMNS, Evaluation
from lora_magic.evaluation.scores import exact_match, repetition, rouge_l
from lora_magic.state import evaluating
from lora_magic.state.session import Session
from lora_magic.training.encode import digest_of, encode, measured_hash
from tests.classifiers import closing_tokenizer, saved, tiny_classifier, tiny_of
from tests.conftest import perturb

ROWS = [
    ("Where is the library?", "Arr, it be down by the harbour, matey!"),
    ("What should I cook tonight?", "Fish stew."),
    ("Hi", "Ahoy there, ye landlubber!"),
    ("What does a fox eat at night?", "Mice."),
    ("Who?", "Me."),
    ("Where?", "Here, by the sea."),
    ("Hi", "Good day."),
]
SHORT: dict[str, Any] = {"max_new_tokens": 6}


@pytest.fixture
def several(session: Session) -> Session:
    """Three adapters with a ΔW each; the one named c changes nothing."""
    for seed, name in enumerate(("b", "a")):
        session.attach(name, rank=2 + seed)
        perturb(session, name, 0.5, seed)
        session._state.attached[name].history = _trained()
    session.attach("c", rank=2)
    return session


def _trained() -> Any:
    from lora_magic.adapters.live_adapter import History

    return History(steps=3)


def recorded(session: Session, name: str) -> Any:
    return session._state.attached[name].run.get("evaluations")


def test_the_frame_has_a_row_for_each_adapter_row_and_metric(several: Session) -> None:
    found = several.evaluate("a,b", ROWS, metric=len_of, **SHORT)
    frame = found.to_frame()
    assert tuple(frame.columns) == COLUMNS
    metrics = ("loss", "exact_match", "rouge_l", "length", "repetition", "len_of")
    assert len(frame) == 3 * len(ROWS) * len(metrics)
    assert list(dict.fromkeys(frame.metric)) == list(metrics)
    assert list(dict.fromkeys(frame.adapter)) == ["base", "a", "b"]
    assert list(frame[frame.adapter == "a"].drop_duplicates("row").prompt) == [p for p, _ in ROWS]


def len_of(prompt: str, answer: str, reference: str | None) -> int:
    return len(answer)


def test_answers_are_those_of_ask_and_their_scores_are_those_of_the_texts(several: Session) -> None:
    found = several.evaluate("b,a", ROWS, metric=len_of, **SHORT)
    for at, name in enumerate(found.adapters):
        several.swap(name)
        for row, (prompt, reference) in zip(found.rows, ROWS, strict=True):
            alone: Any = several.ask(prompt, **SHORT)
            text = row.answers[at] or ""
            assert (row.prompt, row.reference, text) == (prompt, reference, alone.text)
            values = {metric: values[at] for metric, values in row.values.items()}
            assert values["length"] == alone.tokens
            assert values["exact_match"] == exact_match(text, reference)
            assert values["rouge_l"] == rouge_l(text, reference)
            assert values["repetition"] == repetition(text)
            assert values["len_of"] == len(text)
    assert len({row.answers for row in found.rows}) > 3


def test_sampled_answers_are_those_of_ask_with_the_same_seed(several: Session) -> None:
    flags: dict[str, Any] = {**SHORT, "temperature": 1.0, "seed": 3, "top_p": 0.9}
    found = several.evaluate("a", ROWS[:3], **flags)
    several.swap("a")
    assert (
        [row.answers[1] for row in found.rows]
        == [
            several.ask(prompt, **flags).text  # type: ignore[union-attr]
            for prompt, _ in ROWS[:3]
        ]
    )


def test_means_are_those_of_the_rows_and_the_loss_is_weighted_by_tokens(several: Session) -> None:
    found = several.evaluate("a", ROWS, **SHORT)
    for at, name in enumerate(found.adapters):
        nats = sum(row.values["loss"][at] * row.tokens[at] for row in found.rows)
        tokens = sum(row.tokens[at] for row in found.rows)
        means = {mean.metric: mean.value for mean in found.means if mean.adapter == name}
        assert means["loss"] == pytest.approx(nats / tokens)
        assert means["perplexity"] == pytest.approx(torch.tensor(nats / tokens).exp().item())
        lengths = [row.values["length"][at] for row in found.rows]
        assert means["length"] == pytest.approx(sum(lengths) / len(lengths))


def test_neither_the_order_of_rows_nor_that_of_adapters_changes_a_number(several: Session) -> None:
    found = several.evaluate("a,b", ROWS, **SHORT)
    draw = random.Random(1)
    for adapters in ("b,a", "a,b"):
        rows = draw.sample(ROWS, len(ROWS))
        other = several.evaluate(adapters, rows, **SHORT)
        assert other.pairs == found.pairs
        by_name = {(one.adapter, one.metric): one for one in found.means}
        assert {(one.adapter, one.metric): one for one in other.means} == by_name
        assert other.verdict() == found.verdict()


def test_another_adapter_beside_them_changes_no_interval(several: Session) -> None:
    two, three = (several.evaluate(names, ROWS, **SHORT) for names in ("a,b", "a,b,c"))
    one, other = (found.pair("loss", "a", "b") for found in (two, three))
    assert one is not None
    assert other is not None
    assert (one.difference, one.low, one.high, one.p) == pytest.approx(
        (other.difference, other.low, other.high, other.p), abs=1e-5
    )
    assert len(two.pairs) * 2 == len(three.pairs)  # 3 and 6 for each metric


def test_without_names_the_trained_adapters_are_measured(several: Session) -> None:
    found = several.evaluate(data=ROWS, **SHORT)
    assert (found.adapters, found.left_out) == (("base", "b", "a"), ("c",))


def test_an_adapter_that_changes_nothing_is_equal_to_the_base(several: Session) -> None:
    found = several.evaluate("c", ROWS, **SHORT)
    assert all(pair.p == pair.holm == 1 and not pair.real for pair in found.pairs)
    assert found.best is None
    assert found.line.startswith("All have the same loss on 7 rows")


def test_one_output_says_which_of_five_is_best_by_how_much_and_whether_that_is_noise(
    session: Session,
) -> None:
    rows = [(f"Where is number {n}?", f"Here, {n}.") for n in range(40)]
    for name, steps in (("one", 1), ("two", 4), ("three", 12), ("four", 40), ("five", 40)):
        session.attach(name, rank=4, seed=steps, targets="all-linear")
        session.train(name, rows[:20], steps=steps, lr=3e-3, eval=0)
    found = session.evaluate(data=rows[20:], max_new_tokens=2)
    assert found.best in ("four", "five")
    other = {"four": "five", "five": "four"}[found.best]
    best, near, base = (found.mean(name, "loss") for name in (found.best, other, "base"))
    assert best is not None
    assert near is not None
    assert base is not None
    line = found.line
    assert line.startswith(f"{found.best} has the lowest loss on 20 rows, {best.value:.3f}.")
    # The two last are the same but for the name.
    assert f"{other}: {near.value:.3f}" in line or f"{other} has the same" in line
    gain = base.value - best.value
    assert f"base: {base.value:.3f}, higher by {gain:.3f}" in line
    assert line.count("more than noise") == 1
    assert f"More than noise behind {found.best}: three, two, one." in line
    first, last = sorted((found.best, other))
    pair = found.pair("loss", first, last)
    assert pair is not None
    assert not pair.real


def test_an_evaluation_is_recorded_on_its_adapters(several: Session) -> None:
    found = several.evaluate("a", ROWS, metric=len_of, **SHORT)
    assert found.data_hash == digest_of([Row(*pair) for pair in ROWS])
    ((data, made),) = recorded(several, "a").items()
    assert data == hash_of(several, "a", ROWS)
    own = {mean.metric: mean.value for mean in found.means if mean.adapter == "a"}
    base = found.mean("base", "loss")
    assert base is not None
    assert made == {
        "rows": len(ROWS),
        "loss": own["loss"],
        "base_loss": base.value,
        "seconds": found.seconds,
        "when": made["when"],
        "metrics": own,
    }
    assert json.loads(json.dumps(made)) == made
    assert recorded(several, "b") is None
    several.evaluate("a", ROWS[:3], **SHORT)
    assert len(recorded(several, "a")) == 2


def hash_of(session: Session, name: str, rows: Any) -> str:
    """The hash that a run has of such held-out rows."""
    state = session._state
    given = session._rows("t", rows, None)
    examples = encode(given, session.tokenizer, state.form_of(name), 128).examples
    return measured_hash(examples, state.base.fingerprint.digest, None)


def test_what_is_recorded_does_not_depend_on_the_order_of_rows(several: Session) -> None:
    several.evaluate("a", ROWS, **SHORT)
    several.evaluate("a", ROWS[::-1], **SHORT)
    assert len(recorded(several, "a")) == 1


def test_the_base_has_no_loss_on_tokens_that_it_did_not_read(session: Session) -> None:
    session.attach("a", rank=2)
    session.train("a", ROWS[:2], steps=1, system="You are a pirate.")
    session.attach("b", rank=2)
    session.train("b", ROWS[:2], steps=1)
    found = session.evaluate("a,b", ROWS, **SHORT)
    for name in ("a", "b"):
        assert list(recorded(session, name)) == [hash_of(session, name, ROWS)]
    (own,), (other,) = (recorded(session, name).values() for name in ("a", "b"))
    base = found.mean("base", "loss")
    assert base is not None
    assert (own["base_loss"], other["base_loss"]) == (None, base.value)


def test_training_removes_what_was_measured_before_it(several: Session) -> None:
    several.evaluate("a", ROWS, **SHORT)
    several.train("a", ROWS[:2], steps=1)
    assert recorded(several, "a") is None
    several.evaluate("a", ROWS, **SHORT)
    several.train("a", ROWS[:2], steps=1, continue_=True)
    assert recorded(several, "a") is None


def test_training_that_fails_keeps_what_was_measured(
    several: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    several.evaluate("a", ROWS, **SHORT)
    before = recorded(several, "a")
    with pytest.raises(LoraMagicError):
        several.train("a", ROWS[:2], steps=3, lr=1e30)
    assert recorded(several, "a") == before


def test_it_is_saved_and_opened_with_the_adapter(several: Session, tmp_path: Path) -> None:
    several.evaluate("a", ROWS, **SHORT)
    several.save("a", tmp_path / "a")
    several.open(tmp_path / "a", "again")
    assert recorded(several, "again") == recorded(several, "a")


HOSTILE: list[Any] = [
    3,
    [],
    {"short": {}},
    {"0" * 64: {}},
    {"0" * 64: 5},
    {"0" * 64: {"rows": -1}},
    {"0" * 64: {"loss": "low"}},
    {"0" * 64: {"metrics": {"loss": "x"}}},
    {"0" * 64: {"metrics": {"loss": 10**400}}},
    {"0" * 64: {"when": 7}},
    {"0" * 64: {"more": 1}},
    {"../" * 20: None},
]


@pytest.mark.parametrize("value", HOSTILE, ids=map(str, range(len(HOSTILE))))
def test_a_card_with_another_value_there_is_refused(
    several: Session, tmp_path: Path, value: Any
) -> None:
    several.evaluate("a", ROWS, **SHORT)
    several.save("a", tmp_path / "a")
    card = tmp_path / "a" / "lora_magic.json"
    made = json.loads(card.read_text())
    found = made["run"]["evaluations"]
    (good,) = found.values()
    hostile = value
    if isinstance(value, dict):
        hostile = {
            key: {**good, **part} if isinstance(part, dict) and part else part
            for key, part in value.items()
        }
    made["run"]["evaluations"] = hostile
    card.write_text(json.dumps(made))
    with pytest.raises(AdapterError) as error:
        several.open(tmp_path / "a", "again")
    assert "\n" not in str(error.value)
    assert "again" not in several.adapters


def stopping(after: int) -> Callable[[Callable[[], str]], bool]:
    calls = 0

    def watch(line: Callable[[], str]) -> bool:
        nonlocal calls
        calls += 1
        assert "\n" not in line()
        return calls > after

    return watch


def test_a_stop_keeps_what_was_measured_and_records_nothing(
    several: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = several.evaluate("a", ROWS, **SHORT)
    several._state.attached["a"].run.pop("evaluations")
    monkeypatch.setattr("lora_magic.evaluation.losses.BATCH_TOKENS", 60)
    monkeypatch.setattr("lora_magic.evaluation.answers.BATCH_TOKENS", 80)
    seen = set()
    for after in range(1, 60, 3):
        try:
            part = several.evaluate("a", ROWS, **SHORT, watch=stopping(after))
        except KeyboardInterrupt:
            seen.add("nothing")
            continue
        if not part.stopped:
            break
        seen.add((len(part.rows), "exact_match" in part.metrics))
        by_number = {row.number: row for row in whole.rows}
        for row in part.rows:
            full = by_number[row.number]
            assert row.values["loss"] == pytest.approx(full.values["loss"], abs=1e-5)
            assert row.answers in (full.answers, (None, None))
        assert part.line.startswith("stopped by you")
        assert recorded(several, "a") is None
        assert several.verify()
    assert "nothing" in seen
    assert len(seen) > 4


def test_what_fails_records_nothing_and_changes_nothing(several: Session) -> None:
    def bad(prompt: str, answer: str, reference: str | None) -> Any:
        return "good" if prompt == "Who?" else 1

    several.swap("b")
    with pytest.raises(DataError, match="--metric bad: row 5: expected a finite number"):
        several.evaluate("a", ROWS, metric=bad, **SHORT)
    assert (several.active, recorded(several, "a")) == ("b", None)
    assert several.verify()


def test_a_metric_sees_a_row_as_soon_as_it_is_answered(
    several: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_magic.evaluation.answers.BATCH_TOKENS", 1)
    lines: list[str] = []

    def bad(prompt: str, answer: str, reference: str | None) -> Any:
        raise ValueError("no")

    def watch(line: Callable[[], str]) -> bool:
        lines.append(line())
        return False

    with pytest.raises(DataError, match="ValueError: no"):
        several.evaluate("a", ROWS, metric=bad, watch=watch, **SHORT)
    assert not any(line.startswith("answers: 1 of") for line in lines)
    assert any(line.startswith("answers: 0 of 6") for line in lines)  # two rows ask the same


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"data": []}, DataError, "empty"),
        ({"data": ROWS, "adapters": "aa"}, AdapterError, "Did you mean 'a'"),
        ({"data": ROWS, "rows": 0}, CommandError, "--rows 0: expected a whole number from 1"),
        ({"data": ROWS, "rows": True}, CommandError, "--rows True"),
        ({"data": ROWS, "max_new_tokens": 0}, PromptError, "--max-new-tokens 0"),
        ({"data": ROWS, "metric": "polite"}, CommandError, "--metric: expected a function"),
        (
            {"data": [("Hi", ""), ("Who?", "")]},
            DataError,
            "no row has a completion",
        ),
        ({"data": [("Hi", "x"), ("word " * 200, "y")]}, DataError, "row 2: the prompt fills"),
        ({"data": ["A text. " * 3], "metric": len_of}, CommandError, "texts without prompts"),
        ({"data": [("  ", "x")]}, DataError, "nothing to evaluate: the one row is empty"),
        (
            {"data": [("word " * 200, "")], "metric": len_of},
            DataError,
            "the prompt alone fills 128 tokens in row 1",
        ),
        ({"data": None}, DataError, "expected"),
    ],
)
def test_a_mistake_is_one_line(
    several: Session, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as found:
        several.evaluate(**given)
    assert "\n" not in str(found.value)
    assert several.verify()


def test_rows_that_cannot_be_measured_are_left_out_with_skip_bad(several: Session) -> None:
    rows = [*ROWS[:3], ("word " * 200, "y")]
    found = several.evaluate("a", rows, skip_bad=True, **SHORT)
    assert [row.number for row in found.rows] == [1, 2, 3]
    assert any("left out" in note for note in found.notes)


def test_without_some_completions_a_note_says_what_is_missing(several: Session) -> None:
    rows = [*ROWS[:3], ("And you?", "")]
    found = several.evaluate("a", rows, metric=len_of, **SHORT)
    assert "1 row without a completion: no loss, exact match and ROUGE-L" in found.notes
    (last,) = (row for row in found.rows if row.number == 4)
    assert (set(last.values), last.reference) == ({"length", "repetition", "len_of"}, None)
    counts = {mean.metric: mean.rows for mean in found.means}
    assert (counts["loss"], counts["rouge_l"], counts["len_of"]) == (3, 3, 4)


def test_with_a_metric_prompts_alone_are_enough(several: Session) -> None:
    found = several.evaluate("a", [("Hi", ""), ("Who?", "")], metric=len_of, **SHORT)
    assert found.metrics == ("length", "repetition", "len_of")
    assert found.primary == "len_of"
    several.swap("a")
    answer: Any = several.ask("Who?", **SHORT)
    assert found.rows[1].answers[1] == answer.text
    assert recorded(several, "a")[found.data_hash]["loss"] is None


def test_of_plain_texts_the_loss_is_measured_alone(several: Session) -> None:
    found = several.evaluate("a", ["A fox eats mice.", "The sea is wide."])
    assert found.metrics == ("loss",)
    assert {row.answers for row in found.rows} == {(None, None)}
    assert "2 texts without a prompt: loss only" in found.notes


def test_only_the_first_rows_are_read(several: Session) -> None:
    found = several.evaluate("a", ROWS, rows=2, **SHORT)
    assert [row.prompt for row in found.rows] == [prompt for prompt, _ in ROWS[:2]]
    assert found.data_hash == several.evaluate("a", ROWS[:2], **SHORT).data_hash


def test_of_a_stream_as_many_rows_are_read_as_are_asked_for(several: Session) -> None:
    read: list[int] = []

    def endless() -> Any:
        while True:
            read.append(1)
            yield {"prompt": f"Who is {len(read)}?", "completion": "Me."}

    stream = datasets.IterableDataset.from_generator(endless)
    found = several.evaluate("a", stream, rows=3, **SHORT)
    assert (len(found.rows), read) == (3, [1, 1, 1])


def test_a_masked_vocabulary_is_named_as_the_cause(several: Session) -> None:
    several.swap("base")
    ids = several.tokenizer("Me")["input_ids"]

    def mask(module: Any, args: Any, output: Any) -> Any:
        output.logits[..., ids] = -torch.inf
        return output

    handle = several.model.register_forward_hook(mask)
    with pytest.raises(PromptError, match="under base a token of a completion has probability 0"):
        several.evaluate("a", ROWS, **SHORT)
    handle.remove()


def test_base_alone_is_measured(session: Session) -> None:
    found = session.evaluate(data=ROWS[:2], **SHORT)
    assert (found.adapters, found.pairs) == (("base",), ())
    assert found.line.startswith("loss on 2 rows: base ")


def test_an_adapter_that_diverged_is_named(several: Session) -> None:
    with torch.no_grad():
        for _, tensor in several._state.attached["a"].tensors():
            tensor.fill_(float("nan"))
    with pytest.raises(PromptError, match="the logits of a are not finite"):
        several.evaluate("a,b", ROWS, **SHORT)
    assert recorded(several, "b") is None
    several.evaluate("b", ROWS, **SHORT)


def test_a_conversation_is_asked_for_its_last_answer(several: Session) -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Ahoy!"},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Me."},
    ]
    found = several.evaluate("a", [turns], **SHORT)
    several.swap("a")
    alone: Any = several.ask(turns[:3], **SHORT)
    (row,) = found.rows
    assert (row.prompt, row.reference, row.answers[1]) == ("Who?", "Me.", alone.text)


def test_a_prompt_form_of_its_own_is_used_and_noted(session: Session) -> None:
    session.attach("a", rank=2)
    session.train("a", ROWS[:2], steps=1, system="You are a pirate.")
    session.attach("b", rank=2)
    session.train("b", ROWS[:2], steps=1)
    found = session.evaluate(data=ROWS, **SHORT)
    assert "each adapter reads the rows in its own prompt form" in found.notes
    session.swap("a")
    assert [row.answers[1] for row in found.rows] == [
        session.ask(prompt, **SHORT).text  # type: ignore[union-attr]
        for prompt, _ in ROWS
    ]


@pytest.fixture
def classifier() -> Any:
    made = Session()
    made.use(tiny_classifier("bert", 3), closing_tokenizer())
    yield made
    made.reset()


def test_a_classifiers_labels_are_counted(classifier: Session) -> None:
    labels = classifier._state.base.task.labels
    words = ("fox", "sea", "sky", "bee", "sun", "moon", "star", "ant")
    rows = [(f"The {word}", labels[at % 2]) for at, word in enumerate(words)]
    classifier.attach("a", rank=2)
    classifier.train("a", rows, steps=3, lr=0.01, eval=0)
    found = classifier.evaluate("a", rows)
    assert found.metrics == ("loss", "accuracy")
    assert found.primary == "accuracy"
    for at, name in enumerate(found.adapters):
        classifier.swap(name)
        given = [str(classifier.ask(text).label) for text, _ in rows]  # type: ignore[union-attr]
        assert [row.answers[at] for row in found.rows] == given
        right = sum(label == own for label, (_, own) in zip(given, rows, strict=True))
        mean = found.mean(name, "accuracy")
        assert mean is not None
        assert mean.value == right / len(rows)
        frame = found.confusion()
        own = frame[frame.adapter == name]
        assert own.rows.sum() == len(rows)
        assert len(own) == 9
        assert own[own.label == own.predicted].rows.sum() == right


def test_a_classifier_takes_a_metric_and_no_flag_of_generation(classifier: Session) -> None:
    labels = classifier._state.base.task.labels
    rows = [("The fox", labels[0]), ("The sea", labels[1])]
    classifier.attach("a", rank=2)

    def same(prompt: str, answer: str, reference: str | None) -> bool:
        return answer == reference

    found = classifier.evaluate("a", rows, metric=same)
    assert [row.values["same"] == row.values["accuracy"] for row in found.rows] == [True, True]
    with pytest.raises(PromptError, match="--max-new-tokens 3: a classifier generates no text"):
        classifier.evaluate("a", rows, max_new_tokens=3)


def test_without_a_base_it_says_what_to_type() -> None:
    with pytest.raises(StateError, match="%lora load demo"):
        Session().evaluate(data=ROWS)


def test_kept_rows_are_read_by_their_name(several: Session) -> None:
    several.data("greetings", "Hi => Ahoy!\nWho? => Me.")
    found: Evaluation = several.evaluate("a", "greetings", **SHORT)
    assert [row.prompt for row in found.rows] == ["Hi", "Who?"]
    assert several.evaluate("a", text="Hi => Ahoy!\nWho? => Me.", **SHORT).means == found.means


def test_the_record_is_kept_out_of_a_rollback(several: Session) -> None:
    """What was there before a failed verb is there after it."""
    several.evaluate("a", ROWS[:2], **SHORT)
    before = dict(recorded(several, "a"))
    state = several._state
    found = several.evaluate("a", ROWS[2:4], **SHORT)
    state.attached["a"].run = {"evaluations": before}
    with pytest.raises(RuntimeError), state.all_or_nothing():
        evaluating._note(state, found, ["0" * 64, "1" * 64])
        assert len(recorded(several, "a")) == 2
        raise RuntimeError
    assert recorded(several, "a") == before


def test_repeated_rows_are_told_since_they_are_no_further_evidence(several: Session) -> None:
    found = several.evaluate("a", [*ROWS, ROWS[0], ROWS[0]], **SHORT)
    assert "2 rows repeat others, so the intervals are too narrow" in found.notes
    assert several.evaluate("a", ROWS, **SHORT).notes == ()


def test_a_weight_beside_a_name_leads_to_the_two_ways_of_mixing(several: Session) -> None:
    with pytest.raises(LoraMagicError, match=r"'a=0.5': .*--mix a=0.7,b=0.3; .*swap a=0.7,b=0.3"):
        several.evaluate("a=0.5,b=0.5", ROWS, **SHORT)
    several.swap("a=0.5,b=0.5")
    assert several.evaluate("a", ROWS, **SHORT).adapters == ("base", "a")
    assert "a=0.5,b=0.5" in several.evaluate(None, ROWS, **SHORT).adapters


def test_a_head_that_nobody_trained_is_told(tmp_path: Path) -> None:
    session = Session()
    folder = saved(tiny_of("body", "bert"), tmp_path)
    session.load(folder, task="classification", labels="day,night")
    rows = [("The sun", "day"), ("The moon", "night")] * 4
    session.attach("a", rank=2)
    assert {"base: untrained head", "a: untrained head"} <= set(session.evaluate("a", rows).notes)
    session.train("a", rows, steps=1, eval=0)
    notes = session.evaluate("a", rows).notes
    assert "base: untrained head" in notes
    assert "a: untrained head" not in notes
    session.reset()
