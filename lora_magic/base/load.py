"""Loads a base model: the embedded one, a folder, a hub id, or live objects.

Knows transformers' loaders; reads safetensors only, and runs remote code only on request. Knows no
session and no adapter.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_magic import demo
from lora_magic.errors import BaseModelError, LoraMagicError, listed, near
from lora_magic.paths import path_of, quoted

from . import DEMO, claims, classifier, folder, hub, live, quantise, remedies
from .device import choose_device, choose_dtype
from .model import LIVE, BaseModel
from .prompt import PromptForm
from .recipe import embedded
from .task import Task, check_kind, is_classifier, names_of, set_padding, task_of
from .weight_files import WeightFiles

#: Where transformers looks for an adapter beside a model, which it would add to the base.
_NO_ADAPTER = {"subfolder": "no-adapter"}


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
    read from safetensors only. With the task "classification" the base gives a text one of `labels`
    (see `task.names_of`; default: those of its config): a head that its files do not have, or have
    for another number of labels, is initialised with a fixed seed.

    With `bits` the linear layers but the head are quantised while loading: 4 for NF4 with double
    quantisation, 8 for int8; `dtype` is then the format of the other weights and of computation.

    Raises `BaseModelError` with the value seen and the command to type, and `CommandError` for an
    invalid task or labels.
    """
    check_kind(task, labels)
    names = None if labels is None else names_of(labels)
    target = choose_device(device)
    quantise.check_bits(bits, target)
    source, local, files = locate(name)
    with quiet(local):
        options = {"local_files_only": local, "trust_remote_code": trust_remote_code}
        contents = _checked(name, source, local, trust_remote_code)
        _refuse_config(name, source, options)
        tokenizer = _tokenizer(name, source, options, files)
        model, made_for, remarks = _read(
            name, source, tokenizer, options, target, task, names, bits, contents
        )
    remarks.append(folder.adapter_beside(files, name))
    chosen, reason = _cast(model, dtype, target)
    base = BaseModel(
        model,
        tokenizer if len(tokenizer) > 1 else None,
        name=name,
        dtype=chosen,
        reason="; ".join([reason, *filter(None, remarks)]),
        recipe=embedded() if name == DEMO else None,
        task=made_for,
        files=WeightFiles.of(source),
        source=source,
    )
    base.prepare()
    return base


def use(
    model: Any,
    tokenizer: Any,
    *,
    name: str | None = None,
    on_release: Callable[[], None] | None = None,
    undo: ExitStack | None = None,
) -> BaseModel:
    """Take live objects as they are: nothing is moved, cast or copied.

    A classifier's labels are its config's; a missing padding token is set in its config until the
    base is released, which also calls `on_release`. Before anything changes, `undo` gets the
    release, for a caller that fails or is interrupted later. Raises as `check` does.
    """
    check(model, tokenizer)
    task = task_of(model)
    padding = ExitStack()
    if on_release is not None:
        padding.callback(on_release)

    def pad() -> None:
        if task.classifies:
            text = model.config.get_text_config()
            padding.callback(setattr, text, "pad_token_id", text.pad_token_id)
            set_padding(model.config, tokenizer)

    called = name or getattr(model.config, "name_or_path", "") or LIVE
    base = BaseModel(
        model,
        tokenizer,
        name=Path(called).name if Path(called).is_dir() else called,
        dtype=quantise.dtype_of(model),
        reason="as given",
        on_prepare=pad,
        on_release=padding.close,
        task=task,
    )
    with ExitStack() as failed:
        (undo or failed).callback(base.release)
        base.prepare()
        failed.pop_all()
    return base


def check(model: Any, tokenizer: Any) -> None:
    """Raise `BaseModelError` for anything but one of transformers' language models or classifiers,
    with one of its tokenizers or None."""
    live.check_kind(model)
    if not is_classifier(model) and not (hasattr(model, "generate") and hasattr(model, "config")):
        raise BaseModelError(
            f"{type(model).__name__} cannot generate text; expected a causal language model "
            "(AutoModelForCausalLM.from_pretrained) or a classifier "
            "(AutoModelForSequenceClassification.from_pretrained)."
        )
    live.check_state(model)
    task_of(model)
    if tokenizer is not None and not hasattr(tokenizer, "chat_template"):
        raise BaseModelError(
            f"expected a tokenizer, got {type(tokenizer).__name__}; type: %lora use model tokenizer"
        )
    if tokenizer is not None:
        PromptForm.of(tokenizer)


def locate(name: str) -> tuple[str, bool, list[str]]:
    """What transformers should load, whether only from local files, and the names of its files."""
    if name == DEMO:
        return str(demo.folder()), True, []
    path = path_of(name, "load")
    if path.is_dir():
        files = [str(file.relative_to(path)) for file in path.iterdir() if not file.is_dir()]
        hub.refuse_files(name, files)
        return str(path), True, files
    if path.exists():
        raise BaseModelError(f"{name} is a file; expected the folder with config.json.")
    if not hub.looks_like_hub_id(name) or near(name, [DEMO]):
        raise BaseModelError(_unknown(name, path))
    reached, files = hub.check(name)
    return name, not reached, files


def _checked(name: str, source: str, local: bool, trust: bool) -> folder.Contents:
    """What the files hold, after they were checked; of a hub's model only the small ones."""
    if Path(source).is_dir():
        contents = folder.check(name, Path(source))
    else:
        contents = hub.small_files(source, local)
    code = contents.config.get("auto_map")
    named = [*map(str, code.values())] if code else folder.kernels(contents.config)
    if named and not trust:
        raise BaseModelError(remedies.remote_code(name, f" ({listed(named)})"))
    if fault := remedies.of_json(name, contents.config):
        raise BaseModelError(fault)
    return contents


def _refuse_config(name: str, source: str, options: Mapping[str, Any]) -> None:
    """Raise `BaseModelError` for a config of the model or of answers that cannot be read.

    The tokenizer's loader reads the first too, and would be blamed for it.
    """
    from transformers import AutoConfig, GenerationConfig

    file = folder.CONFIG
    try:
        AutoConfig.from_pretrained(source, **options)
        if Path(source, folder.ANSWERS).is_file():
            file = folder.ANSWERS
            GenerationConfig.from_pretrained(source, local_files_only=True)
    except Exception as error:
        # Its values can be of any type, and fail with any error.
        raise BaseModelError(remedies.of_config_error(name, error, file)) from error


def _unknown(name: str, folder: Path) -> str:
    parent = folder.parent if folder.parent.is_dir() else Path()
    here = sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    hint = near(folder.name, [DEMO, *here])
    return (
        f"no base model {name!r}: expected demo, a folder or a hub id "
        f"(folders here: {listed(here)}).{hint} Type: %lora load demo"
    )


def _read(
    name: str,
    source: str,
    tokenizer: Any,
    options: Mapping[str, Any],
    device: torch.device,
    task: str,
    labels: tuple[str, ...] | None,
    bits: int | None,
    contents: folder.Contents,
) -> tuple[Any, Task, list[str]]:
    """The model, its task, and remarks on its files."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    placed: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    loader, renamed, stored = AutoModelForCausalLM, "", ""
    try:
        if task == "classification":
            loader = AutoModelForSequenceClassification
            config, renamed = classifier.configured(name, source, labels, tokenizer, options)
            placed["config"] = config
        else:
            config = AutoConfig.from_pretrained(source, **options)
        if fault := remedies.of_config(name, config, task):
            raise BaseModelError(fault)
        stored = remedies.stored_format(config)
        placed |= quantise.loading_options(name, config, loader, bits, device)
        if not contents.config.get("auto_map"):
            claims.check(name, config, loader, contents)
        with classifier.fixed_seed():
            model, report = loader.from_pretrained(
                source,
                dtype="auto",
                use_safetensors=True,
                # `_refuse_gaps` names them; transformers' own error points to a logged report.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                adapter_kwargs=dict(_NO_ADAPTER),
                **options,
                **placed,
            )
    except LoraMagicError:
        raise
    except Exception as error:
        # Whatever a folder holds can fail anywhere in transformers, with any error.
        raise BaseModelError(remedies.of_error(name, task, error, stored)) from error
    _refuse_unfit(name, model, stored, bits)
    new = classifier.new_tensors(model, report)
    _refuse_gaps(name, model, report, new)
    made_for = classifier.task_from(model, new)
    return model, made_for, [_unused(report), classifier.remark(made_for, renamed)]


def _refuse_unfit(name: str, model: Any, stored: str, bits: int | None) -> None:
    """Raise `BaseModelError` for a model that is not what its config or `--bits` says."""
    if getattr(model, "peft_config", None):
        raise BaseModelError(
            f"{name}: transformers added the adapter beside the model to it; move "
            "adapter_config.json to another folder, then load it again."
        )
    if stored == "bitsandbytes" and quantise.quantised(model) is None:
        raise BaseModelError(
            f"{name}: config.json says bitsandbytes, and its weights are not quantised. Remove "
            f"quantization_config from config.json, then type: %lora load {quoted(name)}"
        )
    if bits is not None and quantise.quantised(model) is None:
        raise BaseModelError(
            f"--bits {bits}: {type(model).__name__} has no linear layer that can be quantised; "
            f"type: %lora load {quoted(name)}"
        )


def _tokenizer(name: str, source: str, options: Mapping[str, Any], files: Sequence[str]) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:
        # As for the model: its files can fail with any error.
        known = not files or bool(remedies.TOKENIZER_FILES.intersection(files))
        raise BaseModelError(remedies.of_tokenizer(name, error, known)) from error


def _unused(report: Mapping[str, Any]) -> str:
    count = len(report["unexpected_keys"])
    if not count:
        return ""
    tensors = "1 tensor of its files is" if count == 1 else f"{count} tensors of its files are"
    return f"{tensors} not used by this config"


def _refuse_gaps(name: str, model: Any, report: Mapping[str, Any], new: Sequence[str]) -> None:
    """Raise `BaseModelError` if weights other than the `new` ones would stay random."""
    missing = sorted(set(report["missing_keys"]) - set(new))
    mismatched = sorted({str(entry[0]) for entry in report["mismatched_keys"]} - set(new))
    if missing:
        hint = "" if is_classifier(model) else classifier.hint(name, model.config)
        raise BaseModelError(
            f"{name} lacks {len(missing)} tensors of {type(model).__name__} "
            f"({listed(missing, 3)}), which would stay random; expected a checkpoint with all "
            f"tensors of its config.json.{hint}"
        )
    if mismatched:
        raise BaseModelError(
            f"{name}: {len(mismatched)} tensors have other shapes than config.json says "
            f"({listed(mismatched, 3)}); correct config.json, or save the model again."
        )


def _cast(
    model: nn.Module, requested: str | torch.dtype | None, device: torch.device
) -> tuple[torch.dtype, str]:
    """Move and cast a model that was just loaded; the number format, and the reason for it."""
    stored = quantise.dtype_of(model)
    plain = quantise.quantised(model) is None
    config: Any = model.config
    width = getattr(config.get_text_config(), "hidden_size", None) if plain else None
    dtype, reason = choose_dtype(requested, device, stored, quantise.count_all(model), width)
    if plain:
        model.to(device)
    # Weights only: `model.to(dtype)` would round the rotary frequencies (a buffer) as well.
    for parameter in model.parameters():
        if parameter.dtype == stored and not quantise.is_packed(parameter):
            parameter.data = parameter.data.to(dtype)
    quantise.set_compute_dtype(model, dtype)
    model.config.dtype = dtype
    return dtype, reason


@contextmanager
def quiet(local: bool) -> Iterator[None]:
    """Suppress what libraries print while loading; a download keeps its progress bar."""
    from transformers.utils import logging

    with ExitStack() as stack:
        stack.callback(logging.set_verbosity, logging.get_verbosity())
        if logging.is_progress_bar_enabled():
            stack.callback(logging.enable_progress_bar)
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        if local:
            sink = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect_stderr(sink))
        yield
