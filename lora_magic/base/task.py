"""The task of a base model: to continue a text, or to classify it into one of a few labels.

Knows labels, configs and module names; knows no loader, no rows and no adapter. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lora_magic.errors import BaseModelError, CommandError, listed, near

from . import KINDS

#: More labels than this are probably another column.
_MOST = 1000

_SINGLE_LABEL = "single_label_classification"
_EXPECTED = "expected names with commas (negative,positive), a number from 2, or a column of labels"


class Task(NamedTuple):
    """A base's task, and for a classifier its labels and head.

    `labels` are in the order of the logits. `head` has the paths of the modules with parameters
    that turn the body's features into logits; `fresh` those that were initialised at load, because
    no file has them.
    """

    kind: str = "causal"
    labels: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    @property
    def classifies(self) -> bool:
        """Whether the base predicts labels."""
        return self.kind == "classification"


CAUSAL = Task()


def check_kind(kind: object, labels: object = None) -> None:
    """Raise `CommandError` for an unknown task, and for labels without classification."""
    if kind not in KINDS:
        hint = near(kind, KINDS) if isinstance(kind, str) else ""
        raise CommandError(f"--task {kind}: expected {' or '.join(KINDS)}.{hint}")
    if kind == "causal" and labels is not None:
        raise CommandError("--labels needs a classifier; add --task classification")


def names_of(labels: object) -> tuple[str, ...]:
    """Label names from a list, "negative,positive", a number, or a column of labels.

    A number N gives "0" to "N-1". A column (a list, a pandas Series, an array) gives its distinct
    values in the order of their first appearance, without empty cells.

    >>> names_of("negative, positive")
    ('negative', 'positive')
    >>> names_of(["no", "yes", "no"])
    ('no', 'yes')

    Raises `CommandError` for anything else, fewer than 2 labels, and more than 1000.
    """
    names = tuple(dict.fromkeys(_values(labels)))
    if len(names) < 2:
        seen = f"only {names[0]!r}" if names else "none"
        raise CommandError(f"--labels: {seen}; {_EXPECTED}.")
    if len(names) > _MOST:
        raise CommandError(
            f"--labels: {len(names):,} different values ({listed(names, 3)}); expected at most "
            f"{_MOST:,}. Check that it is the column of labels."
        )
    return names


def _values(labels: object) -> Iterable[str]:
    values: Any = labels.tolist() if hasattr(labels, "tolist") else labels
    if isinstance(values, str) and not values.strip().isdecimal():
        return _stripped(values.split(","))
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
    return _stripped("" if value is None or value != value else str(value) for value in values)


def _stripped(names: Iterable[str]) -> list[str]:
    return [name.strip() for name in names if name.strip()]


def is_classifier(model: object) -> bool:
    """Whether this is one of transformers' models for sequence classification."""
    kinds = [kind.__name__ for kind in type(model).__mro__]
    return any(kind.endswith("ForSequenceClassification") for kind in kinds)


def task_of(model: Any) -> Task:
    """The task of a live model, from its class and config; `fresh` is empty.

    Raises `BaseModelError` for a regression model and for one that gives several labels.
    """
    if not is_classifier(model):
        return CAUSAL
    check_config(model.config, type(model).__name__)
    return classification(model, labels_of(model.config))


def classification(model: Any, labels: tuple[str, ...], new: Iterable[str] = ()) -> Task:
    """The task of a classifier; `new` names the tensors that were initialised at load."""
    owners = dict.fromkeys(name.rpartition(".")[0] for name in sorted(new))
    outside = _outside(model)
    # A new pooler inside the body belongs to the head, or it would stay random.
    head = (*(path for path in owners if path not in outside), *outside)
    return Task("classification", labels, head, tuple(path for path in head if path in owners))


def may_be_new(model: Any, tensor: str) -> bool:
    """Whether this tensor may be missing in the files: one of the head, or of its pooler."""
    owner = tensor.rpartition(".")[0]
    return owner in _outside(model) or "pooler" in owner.split(".")


def _outside(model: Any) -> tuple[str, ...]:
    """The modules with parameters outside the model's body."""
    body = model.base_model
    if body is model:
        raise BaseModelError(
            f"{type(model).__name__} has no base_model_prefix, which separates its head from its "
            "body; expected one of transformers' own classifiers."
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
    """Raise `BaseModelError` for a classifier that does not give one of several labels."""
    refuse_encoder_decoder(config, name)
    kind = getattr(config, "problem_type", None)
    if kind in (None, _SINGLE_LABEL):
        kind = "one number" if config.num_labels < 2 else None
    if kind is not None:
        raise BaseModelError(
            f"{name} is trained for {kind}; expected a classifier that gives one of several labels."
        )


def refuse_encoder_decoder(config: Any, name: str) -> None:
    """Raise `BaseModelError` for a model whose encoder reads the prompt."""
    if getattr(config, "is_encoder_decoder", False) is True:
        raise BaseModelError(
            f"{name} is an encoder-decoder; expected a model that reads prompt and answer as one "
            "text: a decoder (Llama, Qwen, GPT-2), or an encoder (BERT) with a classifier's head."
        )


def set_labels(config: Any, labels: tuple[str, ...]) -> None:
    """Set a config's labels, for a head that gives one of them."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: place for place, name in enumerate(labels)}
    config.problem_type = _SINGLE_LABEL


def set_padding(config: Any, tokenizer: Any) -> None:
    """Set a config's padding token if it has none: a decoder's head needs it.

    Such a head reads the last token that is not padding. The tokenizer's padding token, else its
    end of text: a text's own end token is then skipped, in every batch alike.
    """
    text = config.get_text_config()
    known = getattr(text, "pad_token_id", None)
    if known is not None and 0 <= known < text.vocab_size:
        return
    candidates = (
        getattr(tokenizer, "pad_token_id", None),
        getattr(tokenizer, "eos_token_id", None),
        text.eos_token_id if isinstance(getattr(text, "eos_token_id", None), int) else None,
    )
    text.pad_token_id = next((token for token in candidates if token is not None), 0)
