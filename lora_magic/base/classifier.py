"""Loads a classifier: its config with the labels, its head from the files or newly initialised.

Knows transformers' configs and the report of its loader; knows no folder, no hub and no adapter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from lora_magic.errors import BaseModelError, listed
from lora_magic.paths import quoted

from .task import (
    CAUSAL,
    Task,
    check_config,
    classification,
    is_classifier,
    labels_of,
    may_be_new,
    set_labels,
    set_padding,
)

_SEED = 0


def configured(
    name: str, source: str, labels: tuple[str, ...] | None, tokenizer: Any, options: Any
) -> tuple[Any, str]:
    """The config of a classifier with these labels, or with its own, and a padding token.

    Also a remark if the labels rename those of a trained head, or "". Raises `BaseModelError` if
    there are no labels, and for another kind of classifier.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source, **options)
    if labels is None:
        if not _is_classifier_config(config):
            raise BaseModelError(
                f"{name} is not a classifier, so it has no labels; name them, for example: "
                f"%lora load {quoted(name)} --task classification --labels negative,positive"
            )
        check_config(config, name)
    before = labels_of(config)
    after = before if labels is None else _in_order(before, labels)
    set_labels(config, after)
    set_padding(config, tokenizer)
    return config, _renamed(before, after)


def _renamed(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    same = [name.casefold() for name in before] == [name.casefold() for name in after]
    unnamed = all(re.fullmatch(r"LABEL_\d+", name) for name in before)
    if same or unnamed or len(before) != len(after):
        return ""
    return f"its head was trained for {listed(before)}"


def _in_order(before: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels in the order of a trained head with the same names, ignoring case."""
    places = {label.casefold(): place for place, label in enumerate(before)}
    if len(labels) != len(before) or {label.casefold() for label in labels} != set(places):
        return labels
    return tuple(sorted(labels, key=lambda label: places[label.casefold()]))


def hint(name: str, config: Any) -> str:
    """What to type if a classifier was loaded as a language model; "" for anything else."""
    if not _is_classifier_config(config):
        return ""
    return f" It is a classifier: type %lora load {quoted(name)} --task classification"


def _is_classifier_config(config: Any) -> bool:
    return any(kind.endswith("ForSequenceClassification") for kind in config.architectures or ())


@contextmanager
def fixed_seed() -> Iterator[None]:
    """A fixed seed in the block, so that a new head is always the same; then torch's own state."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(_SEED)
        yield


def new_tensors(model: Any, report: Mapping[str, Any]) -> Sequence[str]:
    """The head's tensors that were initialised, because no file has them in this shape."""
    if not is_classifier(model):
        return ()
    mismatched = [str(entry[0]) for entry in report["mismatched_keys"]]
    missing = (*report["missing_keys"], *mismatched)
    return sorted(tensor for tensor in missing if may_be_new(model, tensor))


def task_from(model: Any, new: Sequence[str]) -> Task:
    """The task of a model just loaded."""
    if not is_classifier(model):
        return CAUSAL
    return classification(model, labels_of(model.config), new)


def remark(task: Task, renamed: str) -> str:
    """A remark on the head: that it is new, or trained for other labels; or ""."""
    if task.fresh:
        return f"its head is new and untrained ({listed(task.fresh)})"
    return renamed if task.classifies else ""
