"""One run of `train`, as it was planned: its examples, its steps and its settings.

Encodes the rows again, as the run did. Knows bases and runs; knows no line of a script.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lora_magic.adapters.sites import Site, sites_of, trained_parameters
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.tokens import added_ids
from lora_magic.data.row import Row
from lora_magic.training import batches, encode, preference
from lora_magic.training.encode import Encoded, Example
from lora_magic.training.spec import TrainSpec

from .records import Reader, Record
from .source import About
from .steps import Trained

#: How a run can end whose held-out loss decides which weights are kept.
_DECIDED = ("steps", "held-out")


@dataclass(frozen=True, eq=False)
class Planned:
    """One of an adapter's runs; `number` counts them from 1."""

    about: About
    name: str
    step: Trained
    number: int

    def titled(self, what: str) -> str:
        """The title of a section: `pirate: the rows`, of a later run with its number."""
        return f"{self.name}: {what}" + (f", run {self.number}" if self.number > 1 else "")

    @property
    def spec(self) -> AdapterSpec:
        """The adapter's."""
        return self.step.spec

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Where the method's layers are."""
        return sites_of(self.about.shapes, self.spec, self.about.base.task.head)

    @cached_property
    def trained(self) -> dict[str, list[str]]:
        """The base's own parameters that are trained, by module path."""
        head = self.about.base.task.head
        return trained_parameters(self.about.shapes, self.spec, self.sites, head)

    @cached_property
    def encoded(self) -> Encoded:
        """The rows as tokens, with the held-out ones of `--eval` and those that are replayed."""
        found = self._tokens(self.step.rows)
        if self.step.held_out is not None:
            found = found.measured_on(self._tokens(self.step.held_out))
        replay = self.step.other.get("replay")
        return found.replaying(self._tokens(replay)) if replay else found

    def _tokens(self, rows: Sequence[Row]) -> Encoded:
        form, tokenizer = self.step.form, self.about.tokenizer
        length = self.step.settings.max_length
        if form is None:
            labels = self.about.base.task.labels
            return encode.encode_labelled(rows, tokenizer, labels, length, skip_bad=True)
        how = preference.encode_preferences if self.prefers else encode.encode
        return how(rows, tokenizer, form, length, skip_bad=True)

    @property
    def prefers(self) -> bool:
        """Whether it learns preferences."""
        return self.step.settings.beta is not None

    @cached_property
    def examples(self) -> tuple[list[Example], list[Example]]:
        """Those to train on, and those held out."""
        return batches.sides(self.encoded, self.step.settings)

    @cached_property
    def settings(self) -> TrainSpec:
        """The run's settings, for the number of its examples."""
        train, held_out = self.examples
        return self.step.settings.fitted(len(train), len(held_out))

    @cached_property
    def steps(self) -> list[batches.Step]:
        """All steps that were planned."""
        return batches.steps(len(self.examples[0]), self.settings, len(self.encoded.replay))

    @property
    def decides(self) -> bool:
        """Whether the held-out loss decides which weights are kept.

        A run that was stopped, or that ended with its time, is cut to the steps that were kept.
        """
        ended = self.step.other.get("ended", _DECIDED[0])
        return self.settings.decisive and ended in _DECIDED

    @property
    def taken(self) -> int:
        """How many steps the script takes."""
        return len(self.steps) if self.decides else min(self.step.steps, len(self.steps))

    @cached_property
    def evaluations(self) -> list[int]:
        """After which steps the held-out loss is measured."""
        held_out = len(self.examples[1])
        return sorted(batches.evaluations(self.steps, held_out, decisive=True))

    @cached_property
    def counts_tokens(self) -> bool:
        """Does the model divide its loss by a number of tokens that it is given?

        As transformers' Trainer finds it out; some accept the number and ignore it.
        """
        model: Any = self.about.base.model
        if self.prefers or self.step.form is None:
            return False
        if hasattr(model, "accepts_loss_kwargs"):
            return bool(model.accepts_loss_kwargs)
        taken = inspect.signature(model.forward).parameters.values()
        return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken)

    @property
    def draws(self) -> bool:
        """May the model draw random numbers in training? One without dropout or noise does not."""
        model: Any = self.about.base.model
        config = model.config.to_dict()
        nested = [value for value in config.values() if isinstance(value, dict)]
        return self.spec.dropout > 0 or any(
            value and isinstance(value, float) and re.search("drop|jitter|noise", name)
            for sizes in (config, *nested)
            for name, value in sizes.items()
        )

    @cached_property
    def reader(self) -> Reader:
        """The lines that make tokens of the rows."""
        form, tokenizer = self.step.form, self.about.tokenizer
        start = added_ids(tokenizer, "text")[0] if form is not None else []
        labels, length = self.about.base.task.labels, self.step.settings.max_length
        return Reader(tokenizer, form, length, tuple(start), labels)

    @cached_property
    def records(self) -> tuple[list[Record], list[Record], list[Record]]:
        """The rows to train on, those held out, and those that are replayed."""
        rows, other = self.step.rows, self.step.held_out
        train, held_out = self.examples
        return (
            self.reader.records(rows, train),
            self.reader.records(rows if other is None else other, held_out),
            self.reader.records(self.step.other.get("replay") or (), self.encoded.replay),
        )
