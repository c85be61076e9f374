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

from lora_magic.adapters.attached import Attached
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.base.modes import evaluating
from lora_magic.base.options import DEMO
from lora_magic.base.threads import SMALL
from lora_magic.compare.generate import generate
from lora_magic.compare.limits import check_known, check_lengths
from lora_magic.errors import LoraMagicError, PromptError, sentence
from lora_magic.training.encode import IGNORED, Example, collate
from lora_magic.training.kept import Content, GeneralText, Kept, Unmeasured

from .general import TEXTS
from .holdings import Holdings
from .looking import room

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


def measured(held: Holdings, attached: Attached, stopped: Stopped, *, brief: bool = False) -> Kept:
    """What a trained adapter kept, or why that was not measured; a mishap here ends no training.

    `stopped` is asked between two tokens or passes; `brief` leaves out what would take a person
    who has just stopped a run much longer than the step that was in hand.
    """
    if brief and not _is_quick(held):
        return unmeasured(held)
    measure = _content if _is_embedded(held) else _general
    try:
        return measure(held, attached, stopped)
    except _Ended:
        return unmeasured(held)
    except LoraMagicError as error:
        return unmeasured(held, sentence(error))
    except torch.OutOfMemoryError:
        return unmeasured(held, "out of memory")
    except Exception as error:  # noqa: BLE001 - told below: the adapter is trained all the same
        why = f"{type(error).__name__}: {sentence(error)}"
        warnings.warn(
            f"{attached.name} is trained; what it kept of its base could not be measured ({why}).",
            RuntimeWarning,
            stacklevel=2,
        )
        return unmeasured(held, why)


def unmeasured(held: Holdings, why: str = "stopped") -> Unmeasured:
    """That what would be measured of this base was not."""
    return Unmeasured((Content if _is_embedded(held) else GeneralText).what, why)


def _is_embedded(held: Holdings) -> bool:
    # Not by its name alone: a live model may be called so, too.
    return held.key[:2] == ("load", DEMO)


def _is_quick(held: Holdings) -> bool:
    return held.base.device.type != "cpu" or held.base.parameters < SMALL


def _both(
    held: Holdings, attached: Attached, key: object, score: Callable[[str], Score]
) -> tuple[Score, Score]:
    """A score of the bare base and of the adapter. The base's is taken once for each `key`.

    It cannot change while it is held: its bits do not, and another dtype is another load.
    """
    if key not in held.base_scores:
        held.base_scores[key] = _under(held, {}, lambda: score(BASE_NAME))
    return held.base_scores[key], _under(held, attached.replacements, lambda: score(attached.name))


def _under(held: Holdings, modules: Mapping[str, nn.Module], score: Callable[[], Score]) -> Score:
    with held.slots.held(modules):
        return score()


def _content(held: Holdings, attached: Attached, stopped: Stopped) -> Kept:
    from lora_magic.demo.judge import judge
    from lora_magic.demo.sample import QUESTIONS

    def score(name: str) -> Score:
        answers = _answers(held, name, [question.prompt for question in QUESTIONS], stopped)
        verdicts = [judge(q, text) for q, text in zip(QUESTIONS, answers, strict=True)]
        return sum(v.subject for v in verdicts), sum(v.right for v in verdicts)

    base, own = _both(held, attached, Content.what, score)
    return Content(len(QUESTIONS), *map(int, (*own, *base)))


def _answers(held: Holdings, name: str, prompts: Sequence[str], stopped: Stopped) -> list[str]:
    """Greedy answers of what stands in the slots, in the prompt form that `name` is asked in."""
    base, form = held.base, held.form_of(name)
    context = room(held, [name])
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


def _general(held: Holdings, attached: Attached, stopped: Stopped) -> Kept:
    examples = list(_examples(held.base.tokenizer, room(held, [attached.name])))
    if not examples:
        raise PromptError("the tokenizer makes no tokens of plain English")
    check_known([example.tokens for example in examples], held.base.model)
    longest = max(len(example.tokens) for example in examples)

    def score(_: str) -> Score:
        return (_loss(held.base.model, examples, stopped),)

    (base,), (own,) = _both(held, attached, (GeneralText.what, longest), score)
    if not (math.isfinite(base) and math.isfinite(own)):
        return unmeasured(held, f"the loss is no finite number: {base:g} → {own:g}")
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
