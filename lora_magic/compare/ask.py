"""One prompt or conversation, answered by the model with the active adapter, as a value.

Knows models, tokenizers and prompt forms; of the adapter it knows only the name. The views draw the
answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from lora_magic.adapters.slots import Slots
from lora_magic.base.finite import broken
from lora_magic.base.model import context_of
from lora_magic.base.prompt import PromptForm, check_text
from lora_magic.base.template import Turns
from lora_magic.errors import PromptError

from .generate import generate
from .limits import check_flags, check_known, check_lengths
from .mix import Mix, Mixed
from .stack import in_blocks

#: Called after each new token with a function that returns the text so far; True ends the answer.
OnText = Callable[[Callable[[], str]], bool]

#: The roles of a conversation's turns.
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Answer:
    """The answer of one adapter (or "base"). `str(answer)` is the text as generated.

    `prompt` is the last turn of a conversation, and `before` counts the turns before it. `tokens`
    counts the generated tokens, the end token included; `ended` is False if the answer was cut at
    the limit, or by the user, as `stopped` says; `seconds` is wall time.
    """

    prompt: str
    adapter: str
    text: str
    tokens: int
    seconds: float
    ended: bool
    before: int = 0
    stopped: bool = False

    @property
    def line(self) -> str:
        """One line: adapter, tokens, seconds, and how the answer ended."""
        cut = "stopped by you" if self.stopped else "cut at the limit"
        how = "complete" if self.ended else cut
        noun = "token" if self.tokens == 1 else "tokens"
        return f"{self.adapter} · {self.tokens} {noun} · {self.seconds:.2f} s · {how}"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import comparison as view

        return view.answer_bundle(self)


def ask(
    model: Any,
    tokenizer: Any,
    form: PromptForm,
    prompt: str | Turns,
    *,
    adapter: str,
    slots: Slots | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    context: int | None = None,
    watch: OnText | None = None,
    mix: Mix | None = None,
) -> Answer:
    """Answer a prompt, or the last turn of a conversation, in the prompt's form.

    `adapter` is the name in the answer; `slots` allow to tell the base's faults from the adapter's.
    With a `mix`, which needs `slots`, each member reads the prompt in its own form instead.
    Defaults and limits are those of `generate`. `watch` is called after each new token and may end
    the answer. Raises `PromptError` for an empty prompt, one that fills the context, turns that are
    no conversation, flags that `generate` refuses, and logits that are not finite.
    """
    context = context or context_of(model)
    check_flags(max_new_tokens, temperature, seed, top_p)
    forms = [variant.form for variant in mix.variants] if mix else [form]
    last, before, inputs = _encoded(tokenizer, forms, prompt)
    check_lengths([last], [max(inputs, key=len)], context)
    check_known(inputs, model)
    stopped = False

    def on_token(texts: Callable[[], list[str]]) -> bool:
        nonlocal stopped
        stopped = watch is not None and watch(lambda: texts()[0])
        return stopped

    start = time.perf_counter()
    with _mixing(slots or Slots(model), mix):
        made, *_ = generate(
            model,
            tokenizer,
            inputs,
            stop_ids=mix.stop_ids if mix else form.stop_ids,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            context=context,
            watch=on_token if watch is not None else None,
            mix=Mixed(0, mix.weights) if mix else None,
        )
    seconds = time.perf_counter() - start
    if not made.finite:
        refuse(model, slots, inputs[0], adapter)
    stopped = stopped and not made.ended
    return Answer(last, adapter, made.text, made.tokens, seconds, made.ended, before, stopped)


@contextmanager
def _mixing(slots: Slots, mix: Mix | None) -> Iterator[None]:
    """The modules of a mix's members are in the slots during a block, or what is there now."""
    if mix is None:
        yield
        return
    with in_blocks(slots, mix.variants).using(slots):
        yield


def refuse(model: Any, slots: Slots | None, ids: Sequence[int], adapter: str) -> NoReturn:
    """Raise `PromptError`: the logits after these ids were not finite, and whose fault that is."""
    with (slots or Slots(model)).using({}):
        refuse_base(model, ids)
    raise PromptError(
        f"the logits of {adapter} are not finite, and the base's are: its training diverged. Train "
        "it again with a smaller --lr, or go on without it"
    )


def refuse_base(model: Any, ids: Sequence[int]) -> None:
    """Raise `PromptError` if the base's logits are not finite; its own modules are in the slots."""
    where = broken(model, ids)
    if where is None:
        return
    half = next(model.parameters()).dtype in (torch.float16, torch.bfloat16)
    wider = ", or if it overflows in 16 bits add --dtype fp32" if half else ""
    raise PromptError(
        f"the base's logits are not finite, so neither it nor an adapter can answer: {where}. "
        f"Load an intact copy: %lora load MODEL --replace{wider}"
    )


def _encoded(
    tokenizer: Any, forms: Sequence[PromptForm], prompt: str | Turns
) -> tuple[str, int, list[list[int]]]:
    """The prompt's text, the turns before it, and all token ids up to the answer in each form."""
    if not isinstance(prompt, list | tuple):
        text: Any = prompt
        return text, 0, [form.encode(tokenizer, text) for form in forms]
    check_turns(prompt)
    ids = [form.encode_turns(tokenizer, prompt) for form in forms]
    return prompt[-1]["content"], len(prompt) - 1, ids


def check_turns(turns: Turns) -> None:
    """Raise one `PromptError` for everything that makes these turns no conversation to answer."""
    faults = []
    for number, turn in enumerate(turns, start=1):
        fields: Mapping[str, Any] = turn if isinstance(turn, Mapping) else {}
        role = fields.get("role")
        if not isinstance(turn, Mapping):
            faults.append(f"turn {number} is a {type(turn).__name__}, not a dict")
        elif role not in ROLES:
            faults.append(f"turn {number} has the role {role!r}")
        elif role == "system" and number > 1:
            faults.append(f"turn {number} is a system turn, which can only be the first")
        elif wrong := _text_fault(fields.get("content")):
            faults.append(f"turn {number}: {wrong}")
    if not faults and (not turns or turns[-1]["role"] != "user"):
        last = f"turn {len(turns)} has the role {turns[-1]['role']!r}" if turns else "it is empty"
        faults.append(f"the last turn must be the user's, but {last}")
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise PromptError(
            f"no conversation to answer: {'; '.join(faults[:3])}{more}. Pass turns such as "
            '[{"role": "user", "content": "Hello"}], with the roles system, user and assistant.'
        )


def _text_fault(content: object) -> str | None:
    """What is wrong with a turn's text, as a clause, or None."""
    if isinstance(content, str) and not content.strip():
        return "its content is empty"
    try:
        check_text(content)
    except PromptError as error:
        return str(error).rstrip(".").replace("the prompt", "its content")
    return None
