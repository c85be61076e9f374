"""A base model and all that a session knows of it at load.

Knows where it came from, its form and defaults, and how to give it back as it was found. Knows no
adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lora_magic.errors import PromptError

from .device import Placement, short_name
from .fingerprint import Fingerprint
from .recipe import Recipe, recipe_for
from .task import CAUSAL, Task

#: What a live model without a name of its own is called.
LIVE = "live model"

#: When neither config nor tokenizer says how long a text may be.
_UNKNOWN_CONTEXT = 2048


@dataclass(frozen=True)
class BaseRecord:
    """A base model in names and numbers: what a receipt of `load` or `use` shows."""

    name: str
    architecture: str
    parameters: int
    dtype: str
    device: str
    reason: str
    context: int
    prompt_form: str
    end_token: str | None
    fingerprint: str

    @property
    def line(self) -> str:
        """The receipt in one line."""
        return (
            f"{self.name}: {self.architecture}, {in_words(self.parameters)} parameters, "
            f"{self.dtype} on {self.device} ({self.reason})"
        )

    def __repr__(self) -> str:
        return self.line

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import receipt

        return receipt.bundle(
            line=self.line,
            facts=[
                ("parameters", f"{self.parameters:,}"),
                ("context", f"{self.context:,} tokens"),
                ("prompt form", self.prompt_form),
                ("answers end with", self.end_token or "nothing: the tokenizer has no end token"),
                ("fingerprint", self.fingerprint),
            ],
        )


def in_words(count: int) -> str:
    """1,071,616 as `1.1M`."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{letter}"
    return str(count)


def context_of(model: Any) -> int | None:
    """The longest sequence that the model's config allows, in tokens; None where it names none."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    limit = getattr(text, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


class BaseModel:
    """A loaded base: frozen, in eval mode, with its fingerprint taken.

    `release` gives every flag back as it was found, calls `give_back` (what whoever brought the
    base in has to undo), and may be called twice.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        name: str,
        placement: Placement,
        recipe: Recipe | None = None,
        give_back: Callable[[], None] | None = None,
        task: Task = CAUSAL,
    ) -> None:
        self.model = model
        self.task = task
        self.tokenizer = tokenizer
        self.name = name
        self.placement = placement
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self.recipe = recipe or recipe_for(self.parameters)
        self.fingerprint = Fingerprint(model)
        self._wanted = [(p, p.requires_grad) for p in model.parameters()]
        self._training = [(module, module.training) for module in model.modules()]
        self._give_back = give_back
        model.requires_grad_(False)
        model.eval()

    @property
    def context(self) -> int:
        """Tokens that fit: the config's limit, else the tokenizer's, else 2048."""
        if (told := context_of(self.model)) is not None:
            return told
        limit = getattr(self.tokenizer, "model_max_length", None)
        return limit if isinstance(limit, int) and limit < 10**9 else _UNKNOWN_CONTEXT

    @property
    def device(self) -> torch.device:
        """Where the base's first parameter lives."""
        return next(self.model.parameters()).device

    def needs_tokenizer(self) -> Any:
        """The tokenizer; raises `PromptError` when the base was given without one."""
        if self.tokenizer is None:
            raise PromptError(
                "this base has no tokenizer, so it cannot read a prompt; "
                "type: %lora use model tokenizer"
            )
        return self.tokenizer

    def record(self, prompt_form: str, end_token: str | None) -> BaseRecord:
        """This base in names and numbers."""
        return BaseRecord(
            name=self.name,
            architecture=type(self.model).__name__,
            parameters=self.parameters,
            dtype=short_name(self.placement.dtype),
            device=str(self.device),
            reason=self.placement.reason,
            context=self.context,
            prompt_form=prompt_form,
            end_token=end_token,
            fingerprint=self.fingerprint.digest,
        )

    def release(self) -> None:
        """Give every flag back as it was found."""
        for parameter, wanted in self._wanted:
            parameter.requires_grad_(wanted)
        for module, training in self._training:
            module.training = training
        self._wanted = []
        self._training = []
        if self._give_back is not None:
            self._give_back()
