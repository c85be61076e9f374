"""Reads a classifier: its config with the labels asked for, its head from the files or drawn.

Knows transformers' configs and what its loader reports; knows no folder, no hub and no adapter.
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
    may_be_drawn,
    set_labels,
    set_padding,
)

_SEED = 0


def configured(
    name: str, source: str, labels: tuple[str, ...] | None, tokenizer: Any, options: Any
) -> tuple[Any, str]:
    """The config of a classifier with these labels, or with its own, its padding token set.

    Beside it what to tell of labels that take the place of a trained head's others, or "". Raises
    `BaseModelError` where there are no labels at all, and for a classifier of another kind.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source, **options)
    if labels is None:
        if not _holds_classifier(config):
            raise BaseModelError(
                f"{name} is no classifier yet, so it has no labels; name them, as in "
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
    nameless = all(re.fullmatch(r"LABEL_\d+", name) for name in before)
    if same or nameless or len(before) != len(after):
        return ""
    return f"its head gave {listed(before)} until now"


def _in_order(before: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels in the order of a head that knows the same names, whatever their case."""
    known = {label.casefold(): place for place, label in enumerate(before)}
    if len(labels) != len(before) or {label.casefold() for label in labels} != set(known):
        return labels
    return tuple(sorted(labels, key=lambda label: known[label.casefold()]))


def hint(name: str, config: Any) -> str:
    """What to type where a classifier was loaded as something else; nothing for all others."""
    if not _holds_classifier(config):
        return ""
    return f" It is a classifier: type %lora load {quoted(name)} --task classification"


def _holds_classifier(config: Any) -> bool:
    return any(kind.endswith("ForSequenceClassification") for kind in config.architectures or ())


@contextmanager
def drawn_alike() -> Iterator[None]:
    """What is drawn within depends on nothing outside, and nothing outside on what is drawn."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(_SEED)
        yield


def drawn(model: Any, read: Mapping[str, Any]) -> Sequence[str]:
    """The tensors that were drawn because no file holds them so, and that may be: a head's."""
    if not is_classifier(model):
        return ()
    unfit = [str(entry[0]) for entry in read["mismatched_keys"]]
    return sorted(t for t in (*read["missing_keys"], *unfit) if may_be_drawn(model, t))


def task_from(model: Any, drawn: Sequence[str]) -> Task:
    """The task of a model just read."""
    if not is_classifier(model):
        return CAUSAL
    return classification(model, labels_of(model.config), drawn)


def remark(task: Task, renamed: str) -> str:
    """What a person has to know of a head: that it is new, or that it was another's; or ""."""
    if task.fresh:
        return f"its head is new and untrained ({listed(task.fresh)})"
    return renamed if task.classifies else ""
