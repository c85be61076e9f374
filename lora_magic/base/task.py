"""What a base model is for: going on with a text, or giving a text one of a few labels.

Knows labels, configs and the names of modules; knows no loader, no rows and no adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from lora_magic.errors import BaseModelError, CommandError, listed, near

from .options import KINDS

#: More labels than this are a column of something else.
_MOST = 1000

_EXPECTED = "expected names with commas (negative,positive), a number from 2, or a column of labels"


@dataclass(frozen=True)
class Task:
    """What a base does, and for a classifier with which modules.

    `labels` are in the order of the logits. `head` holds the paths of the modules that turn the
    model's features into logits, each with parameters of its own; `fresh` those of them that were
    drawn at load and not read from a file.
    """

    kind: str = "causal"
    labels: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    @property
    def classifies(self) -> bool:
        """Does the base give labels and no text?"""
        return self.kind == "classification"


CAUSAL = Task()


def check_kind(kind: object, labels: object = None) -> None:
    """Raise `CommandError` for an unknown task, and for labels that the task has no use for."""
    if kind not in KINDS:
        hint = near(kind, KINDS) if isinstance(kind, str) else ""
        raise CommandError(f"--task {kind}: expected {' or '.join(KINDS)}.{hint}")
    if kind == "causal" and labels is not None:
        raise CommandError("--labels are for a classifier; add --task classification.")


def names_of(labels: object) -> tuple[str, ...]:
    """Labels as names: of a list, of "negative,positive", of a number, of a column of labels.

    A number N makes "0" to "N-1". Of a column (a list, a pandas Series, an array) the distinct
    values are taken, in the order of their first appearance; empty cells are passed over.

    >>> names_of("negative, positive")
    ('negative', 'positive')
    >>> names_of(["no", "yes", "no"])
    ('no', 'yes')

    Raises `CommandError` for anything else, fewer than 2 labels, and more than 1000.
    """
    names = tuple(dict.fromkeys(_words(labels)))
    if len(names) < 2:
        seen = f"only {names[0]!r}" if names else "none"
        raise CommandError(f"--labels: {seen}; {_EXPECTED}.")
    if len(names) > _MOST:
        raise CommandError(
            f"--labels: {len(names):,} different values ({listed(names, 3)}), at most {_MOST:,}; "
            "is it the column of the labels?"
        )
    return names


def _words(labels: object) -> Iterable[str]:
    values: Any = labels.tolist() if hasattr(labels, "tolist") else labels
    if isinstance(values, str) and not values.strip().isdecimal():
        return _filled(values.split(","))
    if isinstance(values, str | int) and not isinstance(values, bool):
        return map(str, range(min(int(values), _MOST + 1)))
    if isinstance(values, Mapping):
        values = list(values.values())
    if not isinstance(values, list | tuple):
        plain = isinstance(labels, str | int | float | None)
        seen = repr(labels) if plain else f"a {type(labels).__name__}"
        raise CommandError(f"--labels: {seen}; {_EXPECTED}.")
    odd = [value for value in values if not isinstance(value, str | int | float | None)]
    if odd:
        raise CommandError(f"--labels: a {type(odd[0]).__name__} among them; {_EXPECTED}.")
    return _filled("" if value is None or value != value else str(value) for value in values)


def _filled(names: Iterable[str]) -> list[str]:
    return [name.strip() for name in names if name.strip()]


def is_classifier(model: object) -> bool:
    """Is this one of transformers' models for sequence classification?"""
    kinds = [kind.__name__ for kind in type(model).__mro__]
    return any(kind.endswith("ForSequenceClassification") for kind in kinds)


def task_of(model: Any) -> Task:
    """The task of a live model, as its class and config tell it; nothing of it counts as fresh.

    Raises `BaseModelError` for a classifier of another kind: of numbers, or of several labels.
    """
    if not is_classifier(model):
        return CAUSAL
    check_config(model.config, type(model).__name__)
    return classification(model, labels_of(model.config))


def classification(model: Any, labels: tuple[str, ...], drawn: Iterable[str] = ()) -> Task:
    """The task of a classifier; `drawn` names the tensors that no file held."""
    owners = dict.fromkeys(name.rpartition(".")[0] for name in sorted(drawn))
    outside = _outside(model)
    # A pooler inside the model is the head's where it is new: else it would stay random.
    head = (*(path for path in owners if path not in outside), *outside)
    return Task("classification", labels, head, tuple(path for path in head if path in owners))


def may_be_drawn(model: Any, tensor: str) -> bool:
    """May this tensor be new? Those of a head may, and those of a pooler that feeds it."""
    owner = tensor.rpartition(".")[0]
    return owner in _outside(model) or "pooler" in owner.split(".")


def _outside(model: Any) -> tuple[str, ...]:
    """The modules with parameters of their own beside the model's body."""
    body: nn.Module = model.base_model
    if body is model:
        raise BaseModelError(
            f"{type(model).__name__} does not name its body (base_model_prefix), so its head "
            "cannot be told from it; expected one of transformers' own classifiers."
        )
    inside = {id(module) for module in body.modules()}
    return tuple(
        path
        for path, module in model.named_modules()
        if path
        and id(module) not in inside
        and next(module.parameters(recurse=False), None) is not None
    )


def labels_of(config: Any) -> tuple[str, ...]:
    """A config's labels, in the order of the logits."""
    return tuple(str(config.id2label[place]) for place in sorted(config.id2label))


def check_config(config: Any, name: str) -> None:
    """Raise `BaseModelError` for a classifier that gives no single one of several labels."""
    kind = getattr(config, "problem_type", None)
    if kind not in (None, "single_label_classification") or config.num_labels < 2:
        what = kind if kind not in (None, "single_label_classification") else "one number"
        raise BaseModelError(
            f"{name} is made for {what}; expected a classifier that gives one of several labels."
        )


def set_labels(config: Any, labels: tuple[str, ...]) -> None:
    """Write labels into a config, for a head that gives one of them."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: place for place, name in enumerate(labels)}
    config.problem_type = "single_label_classification"


def set_padding(config: Any, tokenizer: Any) -> None:
    """Give a config the padding token that a decoder's head has to know, where it has none.

    Such a head reads the last token that is not padding. The tokenizer's own, else its end of
    text; a text's own end token is then passed over, in every batch alike.
    """
    text = config.get_text_config()
    told = getattr(text, "pad_token_id", None)
    if told is not None and 0 <= told < text.vocab_size:
        return
    candidates = (
        getattr(tokenizer, "pad_token_id", None),
        getattr(tokenizer, "eos_token_id", None),
        text.eos_token_id if isinstance(getattr(text, "eos_token_id", None), int) else None,
    )
    text.pad_token_id = next((token for token in candidates if token is not None), 0)
