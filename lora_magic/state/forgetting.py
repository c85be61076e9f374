"""Measures forgetting: how much worse a trained adapter is than its base on other prompts.

The embedded model answers held-out questions whose answers are known; for any other generative base
the loss on general English text is measured. Base and adapter get the same input. Nothing is
random, and the model, its slots and modes are restored. Knows a session's state; knows no training.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.base import DEMO
from lora_magic.base.device import ONE_THREAD_LIMIT, out_of_memory
from lora_magic.compare.generate import generate
from lora_magic.compare.limits import check_known, check_lengths
from lora_magic.errors import LoraMagicError, PromptError, sentence
from lora_magic.training import held_out
from lora_magic.training.encode import IGNORED, Example
from lora_magic.training.forgetting import (
    Answered,
    AnswerForgetting,
    Forgetting,
    ReadText,
    TextForgetting,
    Unmeasured,
)
from lora_magic.training.way import Way, choose

from .queries import usable_context
from .session_state import SessionState

#: The most tokens in an answer: the demo's answers state the fact in their first sentence.
NEW_TOKENS = 40
#: General English about many subjects, written for this package. Each text is its own sequence, so
#: it fits a short context.
TEXTS: tuple[str, ...] = (
    "The river rises in the hills and reaches the sea after about two hundred miles.",
    "She closed the window, put the kettle on, and waited for her brother to come home.",
    "Water boils at a lower temperature in the mountains because the air presses less on it.",
    "In 1998 the town council voted to move the market from the old square to the riverside.",
    "If the engine does not start, check that the battery is charged and the fuel tap is open.",
    "Bees find their way back to the hive by the position of the sun and by what they remember.",
    '"I never said it would be easy," the teacher answered, "only that it would be worth it."',
    "Add the flour slowly, stir until the dough is smooth, and let it rest for half an hour.",
    "The company expects that sales will grow by about five per cent in the next three years.",
    "A triangle with three equal sides also has three equal angles of sixty degrees each.",
    "The film is too long, but the music is lovely and the last scene stays in the memory.",
    "To reset your password, open the settings, choose your account, and follow the link we send.",
    "During the night the wind turned to the north and the first snow fell on the fields.",
    "Most people who learn a language as adults keep some of the accent of their first one.",
)

#: Has the user requested a stop?
Stopped = Callable[[], bool]
T = TypeVar("T")


class Stopping(Exception):  # noqa: N818 - a request, not an error
    """The user stopped the measurement."""


def measure(
    state: SessionState, attached: LiveAdapter, stopped: Stopped, *, brief: bool = False
) -> Forgetting:
    """What a trained adapter forgot, or why that was not measured; an error here fails no training.

    `stopped` is called between tokens and passes. With `brief`, after a stop, it measures only if
    that takes about as long as one step.
    """
    if brief and is_slow(state):
        return Unmeasured("stopped")
    # The name alone is not enough: a live model may have it too.
    by = _by_answers if state.key[:2] == ("load", DEMO) else _by_text
    try:
        return by(state, attached, stopped)
    except Exception as error:  # noqa: BLE001 - told: the adapter is trained
        return Unmeasured(reason(error, f"{attached.name} is trained, but its forgetting"))


def is_slow(state: SessionState) -> bool:
    """Does a measurement take much longer than one step?"""
    return state.base.device.type == "cpu" and state.base.parameters >= ONE_THREAD_LIMIT


def reason(error: Exception, what: str) -> str:
    """Why there is no measurement of `what`, for a receipt; an error of ours is also a warning."""
    if isinstance(error, Stopping):
        return "stopped"
    if isinstance(error, LoraMagicError):
        return sentence(error)
    if out_of_memory(error):
        return "out of memory"
    why = f"{type(error).__name__}: {sentence(error)}"
    warnings.warn(f"{what} could not be measured ({why}).", RuntimeWarning, stacklevel=2)
    return why


def _both(
    state: SessionState, attached: LiveAdapter, key: object, found: Callable[[str], T]
) -> tuple[T, T]:
    """What is found of base and adapter. The base's is found once per `key`.

    It cannot change while the base is loaded: the weights do not change, and another dtype needs
    another load.
    """
    if key not in state.base_scores:
        with state.slots.using({}):
            state.base_scores[key] = found(BASE_NAME)
    with state.slots.using(attached.replacements):
        return state.base_scores[key], found(attached.name)


def _by_answers(state: SessionState, attached: LiveAdapter, stopped: Stopped) -> Forgetting:
    from lora_magic.demo.judge import judge
    from lora_magic.demo.sample import QUESTIONS

    prompts = [question.prompt for question in QUESTIONS]

    def found(name: str) -> list[str]:
        return _answers(state, name, prompts, stopped)

    answered = []
    both = _both(state, attached, "answers", found)
    for question, base, own in zip(QUESTIONS, *both, strict=True):
        before, after = judge(question, base), judge(question, own)
        right, subject = (before.right, after.right), (before.subject, after.subject)
        answered.append(Answered(question.prompt, base, own, *right, *subject))
    return AnswerForgetting.of(answered)


def _answers(state: SessionState, name: str, prompts: Sequence[str], stopped: Stopped) -> list[str]:
    """Greedy answers with the modules in the slots, in the prompt form of `name`."""
    base, form = state.base, state.form_of(name)
    context = usable_context(state, [name])
    ids = [form.encode(base.tokenizer, prompt) for prompt in prompts]
    check_lengths(prompts, ids, context)

    def watch(_: object) -> bool:
        _check(stopped)
        return False

    made = generate(
        base.model,
        base.tokenizer,
        ids,
        stop_ids=form.stop_ids,
        max_new_tokens=NEW_TOKENS,
        context=context,
        watch=watch,
    )
    return [answer.text for answer in made]


def _by_text(state: SessionState, attached: LiveAdapter, stopped: Stopped) -> Forgetting:
    context = usable_context(state, [attached.name])
    examples = list(_examples(state.base.tokenizer, context))
    if not examples:
        raise PromptError("the tokenizer gives no tokens for plain English")
    check_known([example.tokens for example in examples], state.base.model)
    longest = max(len(example.tokens) for example in examples)

    def found(_: str) -> list[float]:
        return [loss(state, [example], 1, stopped=stopped) for example in examples]

    base, own = _both(state, attached, ("text", longest), found)
    texts = [
        ReadText(TEXTS[example.row], example.trained, *losses)
        for example, *losses in zip(examples, base, own, strict=True)
    ]
    measured = TextForgetting.of(texts)
    if not (math.isfinite(measured.base_loss) and math.isfinite(measured.loss)):
        return Unmeasured(f"the loss is not finite: {measured.base_loss:g} → {measured.loss:g}")
    return measured


def loss(
    state: SessionState,
    examples: Sequence[Example],
    size: int,
    *,
    pad_id: int = 0,
    classes: Sequence[str] = (),
    stopped: Stopped,
) -> float:
    """The mean loss of examples with the modules in the slots, `size` at a time, in nats.

    Raises `Stopping` after a stop.
    """

    model = state.base.model
    # A single row has no padding to save.
    way = Way(model, pad_id) if len(examples) == 1 else choose(model, pad_id, examples)
    found = held_out.measure(way, examples, size, classes=classes, stopped=stopped)
    if found is None:
        raise Stopping
    return found.loss


def _examples(tokenizer: Any, most: int) -> Iterator[Example]:
    """The texts with the tokenizer's special tokens, each cut to at most `most` tokens."""
    for row, text in enumerate(TEXTS):
        ids = tuple(tokenizer(text, verbose=False)["input_ids"][:most])
        if len(ids) > 1:
            # Nothing predicts the first token.
            yield Example(ids, (IGNORED, *ids[1:]), row)


def _check(stopped: Stopped) -> None:
    if stopped():
        raise Stopping
