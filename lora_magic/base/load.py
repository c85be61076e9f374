"""Brings a base model in: the embedded one, a folder, a hub id, or live objects.

Knows transformers' loaders; safetensors only, and no remote code unless asked. Knows no session
and no adapter.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from lora_magic import demo
from lora_magic.errors import BaseModelError, listed, near, sentence
from lora_magic.paths import path_of, quoted

from . import classifier, hub, quantise
from .device import Placement, choose_device, choose_dtype
from .model import LIVE, BaseModel
from .options import DEMO
from .prompt import PromptForm
from .recipe import Recipe
from .source import Source
from .task import Task, check_kind, is_classifier, names_of, set_padding, task_of

#: What transformers and safetensors raise for a folder that they cannot read.
_REFUSALS = (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, SafetensorError)


def load(
    name: str,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    task: str = "causal",
    labels: object = None,
    bits: int | None = None,
) -> BaseModel:
    """Load a base model and its tokenizer.

    `name` is "demo" (embedded, offline), a folder saved by transformers, or a hub id. Weights are
    read from safetensors only. With the task "classification" it gives a text one of `labels` (see
    `task.names_of`; without them those that its config has from training): a head that its files
    do not hold, or hold for another number of labels, is drawn from a fixed seed.

    With `bits` the linear layers are quantised as they are read, all but the head: 4 for NF4 with
    double quantisation, 8 for int8; `dtype` is then what the rest is held and multiplied in.

    Raises `BaseModelError` with what was seen and what to type, and `CommandError` for a task or
    labels that cannot be.
    """
    check_kind(task, labels)
    wanted = None if labels is None else names_of(labels)
    target = choose_device(device)
    quantise.check_bits(bits, target)
    source, local = _locate(name)
    with _quiet(silence=local):
        read = _read(name, source, local, target, trust_remote_code, task, wanted, bits)
    model, placement = _place(read.model, dtype, target)
    placement = replace(placement, reason="; ".join([placement.reason, *read.remarks]))
    recipe = _embedded_recipe() if name == DEMO else None
    return BaseModel(
        model,
        read.tokenizer,
        name=name,
        placement=placement,
        recipe=recipe,
        task=read.task,
        source=Source.of(source),
    )


def _embedded_recipe() -> Recipe:
    fields: dict[str, Any] = {"accumulation": 1, "max_length": 512, **demo.RECIPE}
    return Recipe(**fields)


def use(
    model: Any,
    tokenizer: Any,
    *,
    name: str | None = None,
    give_back: Callable[[], None] | None = None,
) -> BaseModel:
    """Take live objects as they are: nothing is moved, cast or copied.

    A classifier's labels are its config's; where that names no padding token, it does so until the
    base is released, which calls `give_back`. Raises as `check` does.
    """
    check(model, tokenizer)
    task = task_of(model)
    device = next(model.parameters()).device
    placement = Placement(device, quantise.dtype_of(model), "as it was given")
    called = name or getattr(model.config, "name_or_path", "") or LIVE
    called = Path(called).name if Path(called).is_dir() else called
    return BaseModel(
        model,
        tokenizer,
        name=called,
        placement=placement,
        give_back=_padded(model, tokenizer, give_back) if task.classifies else give_back,
        task=task,
    )


def _padded(model: Any, tokenizer: Any, give_back: Callable[[], None] | None) -> Callable[[], None]:
    """Have a classifier's config name a padding token; how to undo that, and what else there is."""
    text = model.config.get_text_config()
    before = text.pad_token_id
    set_padding(model.config, tokenizer)

    def undo() -> None:
        text.pad_token_id = before
        if give_back is not None:
            give_back()

    return undo


def check(model: Any, tokenizer: Any) -> None:
    """Raise `BaseModelError` for what is no language model or classifier of transformers' making,
    or none of its tokenizers."""
    if not isinstance(model, nn.Module):
        raise BaseModelError(
            f"expected a model (torch.nn.Module), saw {type(model).__name__}; "
            "type: %lora use model tokenizer"
        )
    if not is_classifier(model) and not (hasattr(model, "generate") and hasattr(model, "config")):
        raise BaseModelError(
            f"{type(model).__name__} cannot generate text; expected a causal language model, "
            "for example from AutoModelForCausalLM.from_pretrained, or a classifier, from "
            "AutoModelForSequenceClassification."
        )
    task_of(model)
    if tokenizer is not None and not hasattr(tokenizer, "chat_template"):
        raise BaseModelError(
            f"expected a tokenizer, saw {type(tokenizer).__name__}; type: %lora use model tokenizer"
        )
    if tokenizer is not None:
        PromptForm.of(tokenizer)


def _locate(name: str) -> tuple[str, bool]:
    """What to hand to transformers, and whether the files must be here already."""
    if name == DEMO:
        return str(demo.folder()), True
    folder = path_of(name, "load")
    if folder.is_dir():
        files = [str(file.relative_to(folder)) for file in folder.iterdir() if file.is_file()]
        hub.refuse_files(name, files)
        return str(folder), True
    if folder.is_file():
        raise BaseModelError(f"{name} is a file; expected the folder that holds config.json.")
    if not hub.looks_like_hub_id(name) or near(name, [DEMO]):
        raise BaseModelError(_unknown(name, folder))
    return name, not hub.check(name)


def _unknown(name: str, folder: Path) -> str:
    parent = folder.parent if folder.parent.is_dir() else Path()
    here = sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    hint = near(folder.name, [DEMO, *here])
    return (
        f"no base model {name!r}: expected demo, a folder or a hub id "
        f"(folders here: {listed(here)}).{hint} Type: %lora load demo"
    )


@dataclass(frozen=True, eq=False)
class _Read:
    """What the files gave, and what a person has to know of it."""

    model: nn.Module
    tokenizer: Any
    task: Task
    remarks: tuple[str, ...]


def _read(
    name: str,
    source: str,
    local: bool,
    device: torch.device,
    trust: bool,
    task: str,
    labels: tuple[str, ...] | None,
    bits: int | None,
) -> _Read:
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
    )

    options: dict[str, Any] = {"local_files_only": local, "trust_remote_code": trust}
    if local and Path(source).is_dir():
        _refuse_remote_code(name, Path(source), trust)
        _refuse_pointers(name, Path(source))
    placed: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    loader, renamed = AutoModelForCausalLM, ""
    tokenizer = _tokenizer(name, source, options)
    try:
        if task == "classification":
            loader = AutoModelForSequenceClassification
            config, renamed = classifier.configured(name, source, labels, tokenizer, options)
            placed["config"] = config
        else:
            config = AutoConfig.from_pretrained(source, **options)
        placed |= quantise.loading_options(name, config, loader, bits, device)
        with classifier.drawn_alike():
            model, read = loader.from_pretrained(
                source,
                dtype="auto",
                use_safetensors=True,
                # Told below, with names: transformers' own error points to a report it has logged.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
                **placed,
            )
    except _REFUSALS as error:
        raise BaseModelError(_unreadable(name, task, error)) from error
    _refuse_unquantised(name, model, bits)
    drawn = classifier.drawn(model, read)
    _refuse_gaps(name, model, read, drawn)
    made = classifier.task_from(model, drawn)
    unused = len(read["unexpected_keys"])
    remarks = (
        _left_out(unused),
        classifier.remark(made, renamed),
    )
    known = tokenizer if len(tokenizer) > 1 else None
    return _Read(model, known, made, tuple(filter(None, remarks)))


def _tokenizer(name: str, source: str, options: Mapping[str, Any]) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, **options)
    except _REFUSALS as error:
        raise BaseModelError(
            f"{name}: its tokenizer cannot be read ({sentence(error)}). With a tokenizer of your "
            "own, load the model yourself and type: %lora use model tokenizer"
        ) from error


def _refuse_unquantised(name: str, model: nn.Module, bits: int | None) -> None:
    if bits is not None and quantise.quantised(model) is None:
        raise BaseModelError(
            f"--bits {bits}: {type(model).__name__} has no linear layer that can be quantised; "
            f"type: %lora load {quoted(name)}"
        )


def _left_out(tensors: int) -> str:
    if not tensors:
        return ""
    these = "1 tensor of its files is" if tensors == 1 else f"{tensors} tensors of its files are"
    return f"{these} not used by this config"


def _refuse_gaps(name: str, model: Any, read: Mapping[str, Any], drawn: Sequence[str]) -> None:
    """Refuse a checkpoint that leaves weights of the model random, but for those `drawn`."""
    missing = sorted(set(read["missing_keys"]) - set(drawn))
    unfit = sorted({str(entry[0]) for entry in read["mismatched_keys"]} - set(drawn))
    if missing:
        kind = "a causal language model" if not is_classifier(model) else "a model"
        raise BaseModelError(
            f"{name} does not hold {len(missing)} tensors of {type(model).__name__} "
            f"({listed(missing, 3)}), which would stay random; expected a checkpoint of {kind} "
            "that holds all that its config.json says."
            f"{'' if is_classifier(model) else classifier.hint(name, model.config)}"
        )
    if unfit:
        raise BaseModelError(
            f"{name}: {len(unfit)} tensors have other shapes than config.json says "
            f"({listed(unfit, 3)}); mend config.json, or save the model again."
        )


def _refuse_remote_code(name: str, folder: Path, trust: bool) -> None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BaseModelError(f"{name}: config.json cannot be read ({error}).") from error
    if config.get("auto_map") and not trust:
        raise BaseModelError(
            f"{name} brings its own code ({listed(map(str, config['auto_map'].values()))}); "
            f"if you trust it, type: %lora load {quoted(name)} --trust-remote-code"
        )


def _refuse_pointers(name: str, folder: Path) -> None:
    """Refuse what git leaves in the place of large files that were not fetched."""
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            if opened.read(20).startswith(b"version https://git"):
                raise BaseModelError(
                    f"{name}: {file.name} is a pointer of git-lfs, not the weights; in that folder "
                    "type: git lfs pull"
                )


def _unreadable(name: str, task: str, error: Exception) -> str:
    text = sentence(error)
    if "gated" in str(error).lower():
        return f"{name} is gated: accept its terms on the hub and set HF_TOKEN ({text})."
    if "trust_remote_code" in str(error):
        return f"{name} brings its own code; if you trust it, add --trust-remote-code."
    kind = "causal language model" if task == "causal" else "classifier"
    return f"{name} cannot be loaded as a {kind}: {text}. Save or download it again."


def _place(
    model: nn.Module, dtype: str | torch.dtype | None, device: torch.device
) -> tuple[nn.Module, Placement]:
    stored = quantise.dtype_of(model)
    placement = choose_dtype(dtype, device, stored, quantise.count_all(model))
    if quantise.quantised(model) is None:
        model.to(device)
    # Weights only: `model.to(dtype)` would round the rotary frequencies (a buffer) as well.
    for parameter in model.parameters():
        if parameter.dtype == stored and not quantise.is_packed(parameter):
            parameter.data = parameter.data.to(placement.dtype)
    quantise.compute_in(model, placement.dtype)
    model.config.dtype = placement.dtype
    return model, placement


@contextlib.contextmanager
def _quiet(*, silence: bool) -> Iterator[None]:
    """Keep what libraries print while they load out of the cell; put their switches back.

    A download keeps its progress bar: `silence` is for what is on this machine already.
    """
    from transformers.utils import logging

    before = logging.get_verbosity()
    bar = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            if silence:
                sink = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(contextlib.redirect_stderr(sink))
            yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
