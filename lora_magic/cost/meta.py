"""A model that is there, live or on torch's meta device; or one that is built there for its shapes.

The only file of this room that imports torch and transformers: for models that a person has, and
for architectures that the table does not have. Allocates no weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.shapes import CONV1D, EMBEDDING, LINEAR, Shapes
from lora_magic.adapters.targets import is_attention
from lora_magic.base import claims, hub, live, quantise, remedies
from lora_magic.base.device import short_name
from lora_magic.base.load import quiet
from lora_magic.base.task import is_classifier, labels_of, task_of
from lora_magic.errors import BaseModelError, LoraMagicError

from . import ops
from .architectures import function_of
from .builder import LABELS
from .model import Model
from .ops import Op

#: The most modules and parameters that are built.
_MOST = 100_000

#: transformers' loaders and their tables: the first that has the architecture is used.
_LOADERS = (
    ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING"),
    ("AutoModelForSeq2SeqLM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING"),
    ("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING"),
    ("AutoModel", "MODEL_MAPPING"),
)
_CLASSIFIER = (("AutoModelForSequenceClassification", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING"),)

#: Values of a config that `AutoConfig` gets in another way, or that would change what is built.
_OWN = ("model_type", "quantization_config", "transformers_version", "torch_dtype", "dtype", LABELS)

_GUESSED = "what its layers compute is guessed from their shapes"


def of_model(given: Any) -> Model:
    """A model that is there: its own shapes, and its steps if the table has its config.

    Raises `BaseModelError` for anything but one of transformers' models, and for a wrapped one.
    """
    live.check_kind(given)
    config: Any = getattr(given, "config", None)
    if not hasattr(config, "to_dict"):
        raise BaseModelError(
            f"{type(given).__name__} has no config; expected one of transformers' models, for "
            "example: %lora plan model"
        )
    values = config.to_dict()
    head: tuple[str, ...] = ()
    if is_classifier(given):
        head, values[LABELS] = task_of(given).head, len(labels_of(config))
    return replace(
        _with_steps(shapes_of(given), config, values),
        name=getattr(config, "name_or_path", "") or type(given).__name__,
        stored=short_name(quantise.dtype_of(given)),
        head=head,
    )


def built(name: str, values: Mapping[str, Any], source: str) -> Model:
    """The model of a config's values, built by transformers' own class on the meta device.

    A config with `auto_map` is that of the folder or hub id `source`, whose code runs. Raises
    `BaseModelError` for one that transformers does not know or cannot build.
    """
    task = "classification" if values.get(LABELS) else "causal"
    with quiet(False):
        config = _config(name, values, source)
        loader = _loader(name, config, values, task)
        try:
            with claims.at_most(_MOST), torch.device("meta"):
                model = loader.from_config(config, trust_remote_code=bool(values.get("auto_map")))
        except claims.TooManyError:
            raise BaseModelError(
                f"{name}: config.json describes more than {_MOST:,} modules. Correct config.json."
            ) from None
        except Exception as error:
            # A stranger's values can fail anywhere in transformers, with any error.
            raise BaseModelError(remedies.of_error(name, task, error)) from error
    found = of_model(model)
    kind = values.get("model_type")
    own = "its own code" if values.get("auto_map") else f"transformers' {type(model).__name__}"
    note = f"counted from {own}, since {kind!r} is not in the table; {_GUESSED}"
    return replace(found, name=name, stored=None, note=note)


def _config(name: str, values: Mapping[str, Any], source: str) -> Any:
    """transformers' config of these values."""
    from transformers import AutoConfig

    code = values.get("auto_map")
    if code and not (hub.looks_like_hub_id(source) or (source and Path(source).is_dir())):
        raise BaseModelError(
            f"{name} names code of its own (auto_map), which a config alone does not contain; "
            "expected its folder or hub id: %lora plan FOLDER --trust-remote-code"
        )
    if fault := remedies.of_json(name, values):
        raise BaseModelError(fault)
    try:
        if code:
            return AutoConfig.from_pretrained(source, trust_remote_code=True)
        others = {key: value for key, value in values.items() if key not in _OWN}
        if values.get(LABELS):
            others = {**others, "num_labels": values[LABELS]}
            others = {k: v for k, v in others.items() if k not in ("id2label", "label2id")}
        return AutoConfig.for_model(values["model_type"], **others)
    except Exception as error:
        # As above.
        raise BaseModelError(remedies.of_config_error(name, error, "config.json")) from error


def _loader(name: str, config: Any, values: Mapping[str, Any], task: str) -> Any:
    """transformers' loader for a config."""
    import transformers

    code = values.get("auto_map") or {}
    for loader, table in _CLASSIFIER if task == "classification" else _LOADERS:
        if type(config) in getattr(transformers, table) or loader in code:
            return getattr(transformers, loader)
    raise BaseModelError(
        f"{name}: transformers has no {task} model of the type {config.model_type!r}; omit --task, "
        "or plan another model, for example: %lora plan llama-3-8b"
    )


def _with_steps(shapes: Shapes, config: Any, values: Mapping[str, Any]) -> Model:
    """A model of these shapes with the steps of the table, or with guessed ones."""
    function = function_of(shapes.model_type)
    if function is not None:
        try:
            found = function(values, "")
        except (LoraMagicError, TypeError, ValueError, LookupError, AttributeError):
            found = None  # A config that a person has changed; its model is there all the same.
        if found is not None and _sizes(found.shapes) == _sizes(shapes):
            return replace(found, shapes=shapes)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return Model(
        "",
        shapes,
        tuple(_guessed(shapes, text)),
        vocabulary=_number(text, "vocab_size"),
        context=_number(text, "max_position_embeddings"),
        causal=shapes.output is not None and not values.get("is_encoder_decoder"),
        inactive=_inactive(shapes, text),
        note=_GUESSED,
    )


def _number(config: Any, *names: str) -> int:
    """The first of these values of a config that is a number from 1; 0 without one."""
    values = (getattr(config, name, None) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), 0)


def _sizes(shapes: Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    return {path: dict(m.parameters) for path, m in shapes.modules.items() if m.parameters}


def _inactive(shapes: Shapes, config: Any) -> int:
    """The parameters of the experts that a token does not pass."""
    count = _number(config, "num_experts", "num_local_experts", "n_routed_experts")
    chosen = _number(config, "num_experts_per_tok", "moe_top_k", "moe_topk") or count
    size = sum(shapes.modules[path].size for path in shapes.experts)
    return size * max(count - chosen, 0) // count if count else 0


def _guessed(shapes: Shapes, config: Any) -> Iterator[Op]:
    """The steps of a model of which only the modules are known.

    Each module with parameters is one step; each block has one attention, and an activation of what
    its last feed-forward layer reads, which is a gate if one of its layers is called so.
    """
    blocks = {path: index for index, path in enumerate(shapes.blocks)}
    inner = dict.fromkeys(range(len(blocks)), 0)
    gated: set[int] = set()
    for path, module in shapes.modules.items():
        block = next((blocks[above] for above in _above(path) if above in blocks), -1)
        if module.kind == EMBEDDING:
            yield Op(ops.EMBED, gives=module.sides[0], path=path, block=block)
        elif module.kind in (LINEAR, CONV1D):
            outputs, inputs = module.sides
            if block >= 0 and not is_attention(path):
                inner[block] = max(inputs, inner[block])
            gated |= {block} if "gate" in path else set()
            yield Op(ops.LINEAR, inputs, outputs, path, input=path, block=block)
        elif module.parameters and "norm" in module.class_name.lower():
            how = "rms" if len(module.parameters) == 1 else "layer"
            yield Op(ops.NORM, shapes.width, shapes.width, path, how, block=block)
    heads, cache = _number(config, "num_attention_heads"), shapes.cache
    named = getattr(config, "hidden_act", None) or getattr(config, "activation_function", "gelu")
    for block, width in inner.items():
        if cache is not None and heads:
            kept, size = cache.heads, cache.size
            reads = (heads + 2 * kept) * size
            what = {"heads": heads, "kv_heads": kept, "size": size, "block": block}
            yield Op(ops.ATTENTION, reads, heads * size, **what)  # type: ignore[arg-type]  # ints
        yield Op(ops.ACTIVATION, width, width, how=str(named), block=block)
        if block in gated:
            yield Op(ops.PRODUCT, width, width, block=block)


def _above(path: str) -> Iterator[str]:
    """The paths of the modules that hold this one."""
    while "." in path:
        path = path.rpartition(".")[0]
        yield path
