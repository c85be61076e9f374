"""`lens` in a session: what it finds on the embedded model, in which states, and what is refused.

The words of each adapter were committed before any lens was measured: tests/state/lens_words.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean
from typing import Any

import pytest

from lora_magic import demo
from lora_magic.compare.lens import Lens
from lora_magic.errors import CommandError, DataError, LoraMagicError, StateError
from lora_magic.state.general import QUESTIONS
from lora_magic.state.lens import general
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_of
from tests.conftest import Saver, perturb
from tests.state import lens_words
from tests.state.shared import snapshot
from tests.state.variants import VARIANTS

ASKED = ["What does a fox eat?", "Where is the library?"]
#: Adapters with fewer than 5 words of their own among the 20, and how many they have. The base too
#: goes on in a form that an answer has begun in, so only what begins the form is found.
MISSES = {"json": 3, "short": 3}


@pytest.fixture(scope="module")
def trained() -> Iterator[Session]:
    """The embedded model with `pirate`, trained for half the steps of its recipe."""
    made = Session()
    made.load("demo")
    train(made, "pirate", steps=30)
    yield made
    made.reset()


def train(session: Session, task: str, **flags: Any) -> None:
    session.attach(task)
    rows = [{"prompt": prompt, "completion": text} for prompt, text in demo.rows(task, 150)]
    session.train(task, data=rows, **flags)


@pytest.fixture
def wide(saved_model: Saver, session: Session) -> Session:
    """A base whose weights are large enough for a small change to be seen."""
    session.load(str(saved_model(attention_bias=True, initializer_range=0.3)), replace=True)
    return session


@pytest.fixture
def ready(session: Session) -> Session:
    session.attach("a", rank=4)
    perturb(session, "a", size=0.5)
    return session


def random_hits(found: Lens, task: str) -> float:
    """The mean of a random direction's hits over those of all layers."""
    listed = lens_words.words(task)
    draws = [[one.token for one in found.of("random", at.layer)] for at in found.layers]
    return mean(lens_words.token_hits(tokens, listed) for tokens in draws)


def test_the_embedded_model_says_what_pirate_learned_and_a_random_direction_does_not(
    trained: Session,
) -> None:
    before = snapshot(trained)
    found = trained.lens()
    assert found.adapter == "pirate"
    assert (found.asked, found.answered, found.stopped) == (100, 100, False)
    assert found.positions <= 100 * 24
    assert len(found.words) == len(set(found.words)) == 20
    assert lens_words.hits(found.words, lens_words.own_words("pirate")) >= 5
    assert {"Arr", "Ahoy", "ye"} <= set(found.words)
    others = set(demo.ADAPTERS) - {"pirate"}
    most = max(lens_words.hits(found.words, lens_words.words(other)) for other in others)
    assert most < 5
    assert random_hits(found, "pirate") <= 3
    assert [one.layer for one in found.layers] == [0, 1, 2, 3]
    # Of the base's own state: the last layer's may change by more than its norm.
    assert all(0 < one.change < 2 for one in found.layers)
    frame = found.to_frame()
    assert frame.groupby("reading").size().to_dict() == {
        "answers": 20,
        "random": 80,
        "states": 80,
    }
    assert frame.loc[frame.reading == "answers", "layer"].isna().all()
    assert snapshot(trained) == before
    assert trained.verify()


@pytest.mark.long
@pytest.mark.parametrize("task", demo.ADAPTERS)
def test_each_of_the_six_says_five_of_its_words_or_is_a_known_miss(task: str) -> None:
    session = Session()
    session.load("demo")
    train(session, task)
    found = session.lens(task)
    hits = lens_words.hits(found.words, lens_words.own_words(task))
    assert hits >= MISSES.get(task, 5)
    # A miss that is none any more belongs out of the table.
    assert (hits < 5) is (task in MISSES)
    assert random_hits(found, task) <= 3
    session.reset()


def test_an_untrained_adapter_has_no_words_and_a_plain_line(trained: Session) -> None:
    trained.attach("new")
    found = trained.lens("new", watch=lambda line: pytest.fail("it asked"))
    assert found.tokens == ()
    assert found.line == (
        "new: no words: it is not trained and changes nothing, so it answers as the base does; "
        "train it: %%lora_train new"
    )
    assert found.to_frame().empty
    trained.detach("new", discard=True)


@pytest.mark.parametrize("method", [name for name in VARIANTS if name not in ("loftq", "eva")])
def test_no_method_has_words_before_it_is_trained_but_virtual_tokens(
    wide: Session, method: str
) -> None:
    wide.attach("a", **VARIANTS[method])
    found = wide.lens("a", data=ASKED[:1])
    assert bool(found.words) is (method in ("prefix", "prompt"))


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_have_a_reading_of_their_answers_and_none_of_their_states(
    wide: Session, method: str
) -> None:
    wide.attach("a", method=method, virtual_tokens=3)
    found = wide.lens("a", data=ASKED)
    assert found.of("answers")
    assert found.layers == ()
    assert "3 virtual tokens before the prompt" in found.no_states
    assert {one.reading for one in found.tokens} == {"answers"}


@pytest.mark.parametrize("method", ["houlsby", "bitfit", "ia3", "full", "dora"])
def test_methods_without_low_rank_updates_have_both_readings(wide: Session, method: str) -> None:
    wide.attach("a", **VARIANTS[method])
    for name, tensor in wide._state.attached["a"].tensors():
        tensor.data += 0.3 if "lora_A" not in name else 0
    found = wide.lens(data=ASKED)
    assert found.of("answers")
    assert found.of("states", 1)


def test_a_merged_adapter_is_read_from_the_merged_weights(ready: Session) -> None:
    apart = ready.lens("a", data=ASKED)
    ready.merge("a")
    before = snapshot(ready)
    merged = ready.lens(data=ASKED)
    assert snapshot(ready) == before
    assert merged.adapter == "a"
    assert merged.words[:5] == apart.words[:5]
    for one, other in zip(merged.of("answers")[:5], apart.of("answers")[:5], strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-2)
    ready.unmerge()
    assert ready.lens("a", data=ASKED).tokens == apart.tokens


def test_questions_of_ones_own_are_asked_once_and_blank_ones_are_left_out(ready: Session) -> None:
    plain = ready.lens("a", data=ASKED)
    rows = [{"body": text, "id": 1} for text in (ASKED[0], "", *ASKED)]
    found = ready.lens("a", data=rows, column="body")
    assert found.tokens == plain.tokens
    assert (found.asked, found.answered) == (2, 2)


def test_any_other_base_is_asked_a_hundred_questions_in_english(
    ready: Session, trained: Session
) -> None:
    assert general(ready._state) == QUESTIONS
    assert len(set(QUESTIONS)) == 100
    assert set(general(trained._state)).isdisjoint(QUESTIONS)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"name": "b"}, LoraMagicError, "no adapter 'b'; attached: a"),
        ({"name": "a", "data": ["", " "]}, DataError, r"every question of the data is blank \(2\)"),
        ({"name": "a", "data": []}, DataError, "the data is empty"),
        ({"name": "a", "column": "body"}, CommandError, "--column body needs --data"),
        ({"name": "a", "seed": -1}, CommandError, "--seed -1: expected a whole number from 0"),
        ({"name": "a", "seed": 0.5}, CommandError, "--seed 0.5: expected a whole number from 0"),
        ({"name": "a", "data": ["x" * 5000]}, LoraMagicError, "too long for a context"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_changes_nothing(
    ready: Session, given: dict[str, Any], kind: type[Exception], message: str
) -> None:
    before = snapshot(ready)
    with pytest.raises(kind, match=message) as error:
        ready.lens(**given)
    assert "\n" not in str(error.value)
    assert snapshot(ready) == before


def test_without_one_active_adapter_a_name_is_needed(ready: Session) -> None:
    ready.swap("base")
    with pytest.raises(StateError, match="no adapter is active; attached: a"):
        ready.lens()
    ready.attach("b", rank=2)
    ready.swap("a=0.7,b=0.3")
    with pytest.raises(StateError, match=r"several adapters are active .*name one \(%lora lens"):
        ready.lens()
    assert ready.lens("a", data=ASKED[:1]).adapter == "a"


def test_a_classifier_is_refused_with_what_to_type(tmp_path: Any) -> None:
    session = Session()
    folder = saved(tiny_of("classifier", "bert", num_labels=2), tmp_path / "base")
    session.load(str(folder), task="classification")
    session.attach("a", rank=2)
    with pytest.raises(CommandError, match=r"a classifier has no tokens .*%lora compare TEXT"):
        session.lens("a")
    session.reset()
