"""A base model and all that a session knows of it at load.

Knows where it came from, its form and defaults, and how to give it back as it was found. Knows no
adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.errors import BaseModelError, PromptError, listed
from lora_magic.numbers import short

from . import quantise
from .device import Placement, short_name
from .fingerprint import Fingerprint
from .quantise import Quantised
from .recipe import Recipe, recipe_for
from .source import Source
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
    labels: tuple[str, ...] = ()
    quantised: Quantised | None = None

    @property
    def line(self) -> str:
        """The receipt in one line."""
        labels = f"labels {listed(self.labels)}, " if self.labels else ""
        return (
            f"{self.name}: {self.architecture}, {short(self.parameters)} parameters, "
            f"{labels}{self.format} on {self.device} ({self.reason})"
        )

    @property
    def format(self) -> str:
        """What a weight is held in: `fp32`, or `nf4 (4.13 bits a weight), computing in fp32`."""
        if self.quantised is None:
            return self.dtype
        return f"{self.quantised.words}, computing in {self.dtype}"

    def __repr__(self) -> str:
        return self.line

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import receipt

        answers = [
            ("prompt form", self.prompt_form),
            ("answers end with", self.end_token or "nothing: the tokenizer has no end token"),
        ]
        return receipt.bundle(
            line=self.line,
            facts=[
                ("parameters", f"{self.parameters:,}"),
                ("context", f"{self.context:,} tokens"),
                *([("labels", listed(self.labels, 20))] if self.labels else answers),
                ("fingerprint", self.fingerprint),
            ],
        )


def context_of(model: Any) -> int | None:
    """The longest sequence that the model's config allows, in tokens; None where it names none."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    limit = getattr(text, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit <= 0:
        return None
    return limit - _positions_kept(model)


def _positions_kept(model: Any) -> int:
    """Positions that hold no token: RoBERTa and its kind count from the padding's id plus one."""
    named = model.named_modules() if isinstance(model, nn.Module) else ()
    for path, module in named:
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


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
        source: Source | None = None,
    ) -> None:
        self.model = model
        self.task = task
        self._source = source
        self.tokenizer = tokenizer
        self.name = name
        self.placement = placement
        self.parameters = quantise.count_all(model)
        self.quantised = quantise.quantised(model)
        self.recipe = recipe or recipe_for(self.parameters)
        if self.quantised is not None:
            cuda = placement.device.type == "cuda"
            self.recipe = self.recipe.on_quantised(self.parameters, cuda)
        self._let_go = quantise.hold_still(model)
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

    def source_weight(self, path: str) -> Tensor:
        """The weight of the module at `path` as the base's files hold it, on the CPU.

        It is read again, alone, in the type that it is stored in: of a quantised base the 16 bits
        behind the 4. A quantised layer's is [d, k], outputs by inputs, as `quantise.dequantised`
        gives it; any other is in its module's own layout.

        Raises `BaseModelError` for a base that was given live, a module without a weight, and files
        that are gone or hold quantised weights themselves.
        """
        names = self.fingerprint.names_of(f"{path}.weight")
        if not names:
            raise BaseModelError(f"{path!r} is no module of {self.name} with a weight of its own.")
        if self._source is None:
            raise BaseModelError(
                f"{self.name} was given live, so the files that it was read from are not known; "
                "load it by its name or folder: %lora load NAME --bits 4"
            )
        found = self._source.read(self.model, names)
        owner: Any = self.fingerprint.owner_of(names[0])
        if not found.is_floating_point() or found.numel() != quantise.count(owner.weight):
            raise BaseModelError(
                f"the files of {self.name} hold {path} quantised already; load the model that it "
                "was made from, with --bits 4."
            )
        return found.mT.contiguous() if quantise.is_flipped(owner) else found

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
            labels=self.task.labels,
            quantised=self.quantised,
        )

    def release(self) -> None:
        """Give every flag back as it was found."""
        for parameter, wanted in self._wanted:
            parameter.requires_grad_(wanted)
        for module, training in self._training:
            module.training = training
        self._wanted = []
        self._training = []
        self._let_go()
        if self._give_back is not None:
            self._give_back()
