"""What an adapter kept of its base, measured when its training is done and recorded.

The embedded model answers two dozen held-out questions, of which the truth is known; any other
base that writes reads a little plain English. Both under the bare base and under the adapter, in
the same batches. Nothing is drawn, and the model, its slots and modes are left as found. Knows
holdings; knows no training.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody reads
from torch import nn

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.base import DEMO
from lora_magic.base.device import ONE_THREAD_LIMIT
from lora_magic.base.modes import evaluating
from lora_magic.compare.generate import generate
from lora_magic.compare.limits import check_known, check_lengths
from lora_magic.errors import LoraMagicError, PromptError, sentence
from lora_magic.training.encode import IGNORED, Example, collate
from lora_magic.training.forgetting import Content, Forgetting, GeneralText, Unmeasured

from .general import TEXTS
from .queries import room
from .session_state import SessionState

#: Tokens of an answer, at most: those of the demo world say what matters in their first sentence.
NEW_TOKENS = 40
#: Texts in one pass: the logits of a large vocabulary are what takes memory.
PASS = 4

#: Does a person want it to end?
Stopped = Callable[[], bool]
#: What is measured of a base or an adapter, as numbers.
Score = tuple[float, ...]


class _Ended(Exception):  # noqa: N818 - a person's wish, not an error
    """A person ended the measuring."""


def measured(
    state: SessionState, attached: LiveAdapter, stopped: Stopped, *, brief: bool = False
) -> Forgetting:
    """What a trained adapter kept, or why that was not measured; a mishap here ends no training.

    `stopped` is asked between two tokens or passes; `brief` leaves out what would take a person
    who has just stopped a run much longer than the step that was in hand.
    """
    if brief and not _is_quick(state):
        return unmeasured(state)
    measure = _content if _is_embedded(state) else _general
    try:
        return measure(state, attached, stopped)
    except _Ended:
        return unmeasured(state)
    except LoraMagicError as error:
        return unmeasured(state, sentence(error))
    except torch.OutOfMemoryError:
        return unmeasured(state, "out of memory")
    except Exception as error:  # noqa: BLE001 - told below: the adapter is trained all the same
        why = f"{type(error).__name__}: {sentence(error)}"
        warnings.warn(
            f"{attached.name} is trained; what it kept of its base could not be measured ({why}).",
            RuntimeWarning,
            stacklevel=2,
        )
        return unmeasured(state, why)


def unmeasured(state: SessionState, why: str = "stopped") -> Unmeasured:
    """That what would be measured of this base was not."""
    return Unmeasured((Content if _is_embedded(state) else GeneralText).what, why)


def _is_embedded(state: SessionState) -> bool:
    # Not by its name alone: a live model may be called so, too.
    return state.key[:2] == ("load", DEMO)


def _is_quick(state: SessionState) -> bool:
    return state.base.device.type != "cpu" or state.base.parameters < ONE_THREAD_LIMIT


def _both(
    state: SessionState, attached: LiveAdapter, key: object, score: Callable[[str], Score]
) -> tuple[Score, Score]:
    """A score of the bare base and of the adapter. The base's is taken once for each `key`.

    It cannot change while it is loaded: its bits do not, and another dtype is another load.
    """
    if key not in state.base_scores:
        state.base_scores[key] = _under(state, {}, lambda: score(BASE_NAME))
    return state.base_scores[key], _under(
        state, attached.replacements, lambda: score(attached.name)
    )


def _under(
    state: SessionState, modules: Mapping[str, nn.Module], score: Callable[[], Score]
) -> Score:
    with state.slots.using(modules):
        return score()


def _content(state: SessionState, attached: LiveAdapter, stopped: Stopped) -> Forgetting:
    from lora_magic.demo.judge import judge
    from lora_magic.demo.sample import QUESTIONS

    def score(name: str) -> Score:
        answers = _answers(state, name, [question.prompt for question in QUESTIONS], stopped)
        predictions = [judge(q, text) for q, text in zip(QUESTIONS, answers, strict=True)]
        return sum(v.subject for v in predictions), sum(v.right for v in predictions)

    base, own = _both(state, attached, Content.what, score)
    return Content(len(QUESTIONS), *map(int, (*own, *base)))


def _answers(state: SessionState, name: str, prompts: Sequence[str], stopped: Stopped) -> list[str]:
    """Greedy answers of what stands in the slots, in the prompt form that `name` is asked in."""
    base, form = state.base, state.form_of(name)
    context = room(state, [name])
    ids = [form.encode(base.tokenizer, prompt) for prompt in prompts]
    check_lengths(prompts, ids, context)

    def heed(_: object) -> bool:
        _heed(stopped)
        return False

    made = generate(
        base.model,
        base.tokenizer,
        ids,
        stop_ids=form.stop_ids,
        max_new_tokens=NEW_TOKENS,
        context=context,
        watch=heed,
    )
    return [answer.text for answer in made]


def _general(state: SessionState, attached: LiveAdapter, stopped: Stopped) -> Forgetting:
    examples = list(_examples(state.base.tokenizer, room(state, [attached.name])))
    if not examples:
        raise PromptError("the tokenizer makes no tokens of plain English")
    check_known([example.tokens for example in examples], state.base.model)
    longest = max(len(example.tokens) for example in examples)

    def score(_: str) -> Score:
        return (_loss(state.base.model, examples, stopped),)

    (base,), (own,) = _both(state, attached, (GeneralText.what, longest), score)
    if not (math.isfinite(base) and math.isfinite(own)):
        return unmeasured(state, f"the loss is no finite number: {base:g} → {own:g}")
    return GeneralText(sum(example.trained for example in examples), base, own)


def _examples(tokenizer: Any, most: int) -> Iterator[Example]:
    """The sample with the tokenizer's own special tokens, each text cut to `most` tokens."""
    for row, text in enumerate(TEXTS):
        ids = tuple(tokenizer(text, verbose=False)["input_ids"][:most])
        if len(ids) > 1:
            # Nothing comes before the first token, so it is never predicted.
            yield Example(ids, (IGNORED, *ids[1:]), row)


@torch.no_grad()
def _loss(model: Any, examples: Sequence[Example], stopped: Stopped) -> float:
    """The mean over all tokens that are predicted, in nats, whatever passes they come in."""
    total = 0.0
    with evaluating(model):
        for at in range(0, len(examples), PASS):
            _heed(stopped)
            batch = {k: v.to(model.device) for k, v in collate(examples[at : at + PASS], 0).items()}
            labels = batch.pop("labels")[:, 1:]
            logits = model(**batch, use_cache=False).logits[:, :-1]
            # fp32 sums: in 16 bits some hundred losses would be rounded to a few digits.
            total += float(
                F.cross_entropy(
                    logits.float().flatten(0, 1),
                    labels.flatten(),
                    ignore_index=IGNORED,
                    reduction="sum",
                )
            )
    return total / sum(example.trained for example in examples)


def _heed(stopped: Stopped) -> None:
    if stopped():
        raise _Ended
