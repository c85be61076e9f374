"""A base model, with what is measured when it is loaded.

Knows its files, task and defaults, and how to restore it on release. Knows no adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.errors import BaseModelError, PromptError, listed
from lora_magic.interrupts import undisturbed
from lora_magic.numbers import short
from lora_magic.printable import one_line

from . import quantise
from .bitsandbytes_patches import patch_layers
from .device import short_name
from .fingerprint import Fingerprint
from .quantise import Quantised
from .recipe import Recipe, recipe_for
from .restore import flags, modes
from .task import CAUSAL, Task
from .weight_files import WeightFiles

#: The name of a live model without a name of its own.
LIVE = "live model"

#: The context if neither config nor tokenizer names one.
_UNKNOWN_CONTEXT = 2048


@dataclass(frozen=True)
class BaseRecord:
    """A base model in names and numbers: what a receipt of `load` or `use` shows.

    `resumable` has a line for each unfinished run on this base that can be resumed.
    """

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
    resumable: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The receipt in one line."""
        labels = f"labels {listed(self.labels)}, " if self.labels else ""
        unfinished = "".join(f"; {line}" for line in self.resumable)
        return (
            f"{self.name}: {self.architecture}, {short(self.parameters)} parameters, "
            f"{labels}{self.format} on {self.device} ({self.reason}){unfinished}"
        )

    @property
    def format(self) -> str:
        """The weights' format: `fp32`; `nf4 (5.21 bits per weight in all), computing in fp32`."""
        if self.quantised is None:
            return self.dtype
        return f"{self.quantised.line}, computing in {self.dtype}"

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
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
    """The longest sequence of the model's config, in tokens; None if it has none."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    limit = getattr(text, "max_position_embeddings", None)
    return limit - _unused_positions(model) if isinstance(limit, int) and limit > 0 else None


def _unused_positions(model: Any) -> int:
    """Positions without a token: RoBERTa and its relatives count from the padding's id plus one."""
    named = model.named_modules() if isinstance(model, nn.Module) else ()
    for path, module in named:
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


class BaseModel:
    """A base: from `prepare` to `release` frozen, in eval mode, and with a fingerprint.

    Making one changes nothing, so that an interrupt cannot lose what a change must undo. `dtype`
    is the format of computation, `reason` why, with remarks on loading. `prepare` first calls
    `on_prepare`; `release` restores every flag and calls `on_release`; it may be called twice.
    """

    fingerprint: Fingerprint

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        name: str,
        dtype: torch.dtype,
        reason: str,
        recipe: Recipe | None = None,
        on_prepare: Callable[[], None] | None = None,
        on_release: Callable[[], None] | None = None,
        task: Task = CAUSAL,
        files: WeightFiles | None = None,
        source: str | None = None,
    ) -> None:
        self.model = model
        #: The folder or hub id that another process can read it from; None for live objects.
        self.source = source
        self.task = task
        self._files = files
        self.tokenizer = tokenizer
        self.name = name
        self.dtype = dtype
        self.reason = reason
        self.parameters = quantise.count_all(model)
        self.quantised = quantise.quantised(model)
        self.recipe = recipe or recipe_for(self.parameters)
        if self.quantised is not None:
            self.recipe = self.recipe.on_quantised(self.parameters, self.device.type == "cuda")
        self._snapshots = [flags(model), modes(model)]
        self._on_prepare, self._on_release = on_prepare, on_release
        self._undo_patches: Callable[[], None] | None = None

    @property
    def context(self) -> int:
        """Tokens that fit: the config's limit, else the tokenizer's, else 2048."""
        if (limit := context_of(self.model)) is not None:
            return limit
        own = getattr(self.tokenizer, "model_max_length", None)
        return own if isinstance(own, int) and own < 10**9 else _UNKNOWN_CONTEXT

    @property
    def device(self) -> torch.device:
        """The device of the base's first parameter."""
        return next(self.model.parameters()).device

    def needs_tokenizer(self) -> Any:
        """The tokenizer; raises `PromptError` for a base without one."""
        if self.tokenizer is None:
            raise PromptError("this base has no tokenizer; type: %lora use model tokenizer")
        return self.tokenizer

    def stored_weight(self, path: str) -> Tensor:
        """The weight of the module at `path` in the base's files, on the CPU.

        Only this tensor is read, in its stored dtype: for a quantised base the 16 bits before
        quantisation. That of a quantised layer is [d, k], outputs by inputs, as
        `quantise.dequantised` returns it; any other has its module's own layout.

        Raises `BaseModelError` for a live model, a module without a weight, and files that are
        missing or have quantised weights.
        """
        names = self.fingerprint.names_of(f"{path}.weight")
        if not names:
            raise BaseModelError(f"{self.name} has no module {path!r} with a weight.")
        if self._files is None:
            raise BaseModelError(
                f"{self.name} is a live model, so its files are unknown; load it by name or "
                "folder: %lora load NAME --bits 4"
            )
        found = self._files.read(self.model, names)
        owner: Any = self.fingerprint.owner_of(names[0])
        if not found.is_floating_point() or found.numel() != quantise.count(owner.weight):
            raise BaseModelError(
                f"{path} is already quantised in the files of {self.name}; load the original model "
                "with --bits 4."
            )
        return found.mT.contiguous() if quantise.is_transposed(owner) else found

    def record(self, prompt_form: str, end_token: str | None) -> BaseRecord:
        """This base in names and numbers."""
        return BaseRecord(
            name=self.name,
            architecture=type(self.model).__name__,
            parameters=self.parameters,
            dtype=short_name(self.dtype),
            device=str(self.device),
            reason=self.reason,
            context=self.context,
            prompt_form=prompt_form,
            end_token=end_token,
            fingerprint=self.fingerprint.digest,
            labels=self.task.labels,
            quantised=self.quantised,
        )

    def prepare(self) -> None:
        """Patch, fingerprint and freeze the model; `release` undoes it, also halfway."""
        if self._on_prepare is not None:
            self._on_prepare()
        with undisturbed():
            self._undo_patches = patch_layers(self.model)
        self.fingerprint = Fingerprint(self.model)
        self.freeze()

    def freeze(self) -> None:
        """No parameter requires a gradient, and every module is in eval mode; may be repeated."""
        self.model.requires_grad_(False)
        self.model.eval()

    def let_go(self) -> None:
        """Forget the tensors of the load, which would stay in memory when others replace them.

        The base can no longer be verified, nor its flags restored: for a process that trains and
        ends.
        """
        self._snapshots = []
        self.fingerprint = Fingerprint(nn.Module())

    def release(self) -> None:
        """Restore every flag, remove the patches, and call `on_release`."""
        for restore in self._snapshots:
            restore()
        self._snapshots = []
        if self._undo_patches is not None:
            self._undo_patches()
            self._undo_patches = None
        if self._on_release is not None:
            self._on_release()
