"""Measures forgetting: how much worse a trained adapter is than its base on other prompts.

The embedded model answers held-out questions whose answers are known; for any other generative base
the loss on general English text is measured. Base and adapter get the same batches. Nothing is
random, and the model, its slots and modes are restored. Knows a session's state; knows no training.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.base import DEMO
from lora_magic.base.device import ONE_THREAD_LIMIT, out_of_memory
from lora_magic.base.restore import evaluating
from lora_magic.compare.generate import generate
from lora_magic.compare.limits import check_known, check_lengths
from lora_magic.errors import LoraMagicError, PromptError, sentence
from lora_magic.training.batches import collate
from lora_magic.training.encode import IGNORED, Example
from lora_magic.training.forgetting import (
    AnswerForgetting,
    Forgetting,
    TextForgetting,
    Unmeasured,
)

from .queries import usable_context
from .session_state import SessionState

#: The most tokens in an answer: the demo's answers state the fact in their first sentence.
NEW_TOKENS = 40
#: Texts per pass: with a large vocabulary the logits take most of the memory.
PASS = 4
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
#: The numbers measured for a base or an adapter.
Score = tuple[float, ...]


class _Stopped(Exception):  # noqa: N818 - a request, not an error
    """The user stopped the measurement."""


def measure(
    state: SessionState, attached: LiveAdapter, stopped: Stopped, *, brief: bool = False
) -> Forgetting:
    """What a trained adapter forgot, or why that was not measured; an error here fails no training.

    `stopped` is called between tokens and passes. With `brief`, after a stop, it measures only if
    that takes about as long as one step.
    """
    if brief and not (state.base.device.type != "cpu" or state.base.parameters < ONE_THREAD_LIMIT):
        return Unmeasured("stopped")
    # The name alone is not enough: a live model may have it too.
    by = _by_answers if state.key[:2] == ("load", DEMO) else _by_text
    try:
        return by(state, attached, stopped)
    except _Stopped:
        return Unmeasured("stopped")
    except LoraMagicError as error:
        return Unmeasured(sentence(error))
    except Exception as error:  # noqa: BLE001 - shown as a warning: the adapter is trained
        if out_of_memory(error):
            return Unmeasured("out of memory")
        why = f"{type(error).__name__}: {sentence(error)}"
        warnings.warn(
            f"{attached.name} is trained, but its forgetting could not be measured ({why}).",
            RuntimeWarning,
            stacklevel=2,
        )
        return Unmeasured(why)


def _scores(
    state: SessionState, attached: LiveAdapter, key: object, score: Callable[[str], Score]
) -> tuple[Score, Score]:
    """The scores of base and adapter. The base's is measured once per `key`.

    It cannot change while the base is loaded: the weights do not change, and another dtype needs
    another load.
    """
    if key not in state.base_scores:
        with state.slots.using({}):
            state.base_scores[key] = score(BASE_NAME)
    with state.slots.using(attached.replacements):
        return state.base_scores[key], score(attached.name)


def _by_answers(state: SessionState, attached: LiveAdapter, stopped: Stopped) -> Forgetting:
    from lora_magic.demo.judge import judge
    from lora_magic.demo.sample import QUESTIONS

    def score(name: str) -> Score:
        answers = _answers(state, name, [question.prompt for question in QUESTIONS], stopped)
        predictions = [judge(q, text) for q, text in zip(QUESTIONS, answers, strict=True)]
        return sum(v.subject for v in predictions), sum(v.right for v in predictions)

    base, own = _scores(state, attached, "answers", score)
    return AnswerForgetting(len(QUESTIONS), *map(int, (*own, *base)))


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

    def score(_: str) -> Score:
        return (_loss(state.base.model, examples, stopped),)

    (base,), (own,) = _scores(state, attached, ("text", longest), score)
    if not (math.isfinite(base) and math.isfinite(own)):
        return Unmeasured(f"the loss is not finite: {base:g} → {own:g}")
    return TextForgetting(sum(example.trained for example in examples), base, own)


def _examples(tokenizer: Any, most: int) -> Iterator[Example]:
    """The texts with the tokenizer's special tokens, each cut to at most `most` tokens."""
    for row, text in enumerate(TEXTS):
        ids = tuple(tokenizer(text, verbose=False)["input_ids"][:most])
        if len(ids) > 1:
            # Nothing predicts the first token.
            yield Example(ids, (IGNORED, *ids[1:]), row)


@torch.no_grad()
def _loss(model: Any, examples: Sequence[Example], stopped: Stopped) -> float:
    """The mean loss over all predicted tokens, in nats, however they are batched."""
    total = 0.0
    with evaluating(model):
        for at in range(0, len(examples), PASS):
            _check(stopped)
            batch = {k: v.to(model.device) for k, v in collate(examples[at : at + PASS], 0).items()}
            labels = batch.pop("labels")[:, 1:].flatten()
            logits = model(**batch, use_cache=False).logits[:, :-1].float().flatten(0, 1)
            # fp32 sums: in 16 bits the sum of a few hundred losses keeps only a few digits.
            total += float(F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
    return total / sum(example.trained for example in examples)


def _check(stopped: Stopped) -> None:
    if stopped():
        raise _Stopped
