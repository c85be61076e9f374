"""A run of `train` as the parts of a plain script: what it needs, its steps, and what it saves.

Knows planned runs and what other files here write; knows no session and no file's format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch

from lora_magic.base.device import ONE_THREAD_LIMIT
from lora_magic.errors import ExportError
from lora_magic.export.request import is_remote_code
from lora_magic.training.run import pad_id

from . import adapter, loop
from .planned import Planned
from .records import as_code, literal
from .source import About, Part
from .steps import Trained

#: What a script may use, and the line that imports it.
_IMPORTS = {
    "json": "import json",
    "math": "import math",
    "re": "import re",
    "zlib": "import zlib",
    "Path": "from pathlib import Path",
    "Any": "from typing import Any",
    "snapshot_download": "from huggingface_hub import snapshot_download",
    "bitsandbytes": "import bitsandbytes",
    "torch": "import torch",
    "LoraConfig": "from peft import LoraConfig",
    "AdaLoraConfig": "from peft import AdaLoraConfig",
    "IA3Config": "from peft import IA3Config",
    "PrefixTuningConfig": "from peft import PrefixTuningConfig",
    "PromptTuningConfig": "from peft import PromptTuningConfig",
    "PeftModel": "from peft import PeftModel",
    "get_peft_model": "from peft import get_peft_model",
    "load_file": "from safetensors.torch import load_file",
    "get_peft_model_state_dict": "from peft import get_peft_model_state_dict",
    "get_eva_state_dict": "from peft import get_eva_state_dict",
    "EvaConfig": "from peft.tuners.lora import EvaConfig",
    "RankAllocator": "from peft.tuners.adalora import RankAllocator",
    "save_file": "from safetensors.torch import save_file",
    "Tensor": "from torch import Tensor",
    "nn": "from torch import nn",
    "pad_sequence": "from torch.nn.utils.rnn import pad_sequence",
    "logsigmoid": "from torch.nn.functional import logsigmoid",
    "AutoModelForCausalLM": "from transformers import AutoModelForCausalLM",
    "AutoModelForSequenceClassification": (
        "from transformers import AutoModelForSequenceClassification"
    ),
    "AutoTokenizer": "from transformers import AutoTokenizer",
    "DynamicCache": "from transformers import DynamicCache",
    "BitsAndBytesConfig": "from transformers import BitsAndBytesConfig",
}


def run_parts(
    about: About, name: str, steps: Sequence[Trained], start: str | None = None
) -> tuple[Part, ...]:
    """The runs of one adapter, one after another, and its folder NAME.

    The first begins with a fresh adapter, or with that of a folder: `start` is the expression of
    its path. Raises `ExportError` for a method or a run that no plain script repeats.
    """
    return tuple(_parts(about, name, steps, start))


def _parts(about: About, name: str, steps: Sequence[Trained], start: str | None) -> Iterator[Part]:
    if not steps or (steps[0].continued and start is None):
        raise ExportError(f"{name}: how it was made before its last run is not known.")
    runs = [Planned(about, name, step, number) for number, step in enumerate(steps, 1)]
    for run in runs:
        adapter.refuse(about, run)
    for run in runs:
        train, held_out, replay = run.records
        code = run.reader.code([*train, *held_out, *replay])
        yield Part("Tokens of a row", code)
        yield _rows(run)
        if run.number == 1:
            yield from adapter.parts(run, start)
        yield from loop.parts(run)
    yield Part(f"{name}: saved", "\n".join(adapter.saved(runs[-1])))


def _rows(run: Planned) -> Part:
    """The rows, and their tokens."""
    train, held_out, replay = run.records
    files: dict[str, str] = {}
    code: list[str] = []
    lists = {"rows": train, "held_out_rows": held_out, "replayed_rows": replay}
    given = {kind: records for kind, records in lists.items() if records}
    for kind, records in given.items():
        text, written = as_code(kind, records, _file(run, kind))
        code = [*code, text]
        files |= written
    made = "encode(row)"
    if run.prefers:
        made = '(encode(row["chosen"]), encode(row["rejected"]))'
    names = {"rows": "train", "held_out_rows": "held_out", "replayed_rows": "replay"}
    code += [f"{names[kind]} = [{made} for row in {kind}]" for kind in given]
    return Part(run.titled("the rows"), "\n".join(code), files)


def _file(run: Planned, kind: str) -> str:
    """Where rows go that are too long for the script: STEM.jsonl, STEM-2-held-out.jsonl, …"""
    more = [run.name] if run.name != run.about.stem else []
    more += [str(run.number)] if run.number > 1 else []
    more += [kind.removesuffix("_rows").replace("_", "-")] if kind != "rows" else []
    return f"{'-'.join([run.about.stem, *more])}.jsonl"


def head(about: About, rest: Sequence[Part]) -> tuple[Part, ...]:
    """What the other parts of a script need: imports, and the base with its tokenizer."""
    code = "\n".join(part.code for part in rest)
    base = "\n".join(_base(about, code))
    return Part("What it needs", _imports(f"{base}\n{code}")), Part("The base", base)


def _imports(code: str) -> str:
    used = [line for name, line in _IMPORTS.items() if re.search(rf"(?<![\w.\"']){name}\b", code)]
    plain = [
        line
        for line in used
        if re.match(r"(import|from) (json|math|re|zlib|pathlib|typing)\b", line)
    ]
    names: dict[str, list[str]] = {}
    for line in used:
        if line not in plain:
            module, _, name = line.removeprefix("from ").partition(" import ")
            names.setdefault(module, []).append(name)
    imported = [
        f"from {module} import {', '.join(sorted(found))}" if found[0] else module
        for module, found in names.items()
    ]
    return "\n".join([*plain, "", *imported])


def _base(about: About, code: str) -> Iterator[str]:
    base = about.base
    model = "AutoModelForCausalLM"
    options = [f"dtype=torch.{about.dtype}"]
    trusted = ", trust_remote_code=True" if is_remote_code(base.model) else ""
    threads = torch.get_num_threads()
    if about.device == "cpu" and base.parameters < ONE_THREAD_LIMIT:
        threads = 1
    if about.device == "cpu":
        yield f"torch.set_num_threads({threads})  # another number may add in another order"
    if "HERE" in code:
        yield 'HERE = Path(__file__).parent if "__file__" in globals() else Path()'
    yield f"BASE = {literal(about.source)}"
    yield f"tokenizer = AutoTokenizer.from_pretrained(BASE{trusted})"
    yield ""
    yield ""
    yield "def load_base():"
    yield f'    """{base.name}, frozen."""'
    if base.task.classifies:
        model = "AutoModelForSequenceClassification"
        if base.task.fresh:
            yield "    torch.manual_seed(0)  # of the head, which no file has"
        labels = dict(enumerate(base.task.labels))
        yield f"    names = {literal(labels)}"
        options += ["id2label=names", "label2id={name: at for at, name in names.items()}"]
        options += [f"pad_token_id={pad_id(about.tokenizer, base.model)}"]
    if about.bits is not None:
        more = (
            ', bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True' if about.bits == 4 else ""
        )
        yield f"    bits = BitsAndBytesConfig(load_in_{about.bits}bit=True{more})"
        options.append("quantization_config=bits")
    if about.device != "cpu":
        place = "0" if about.device == "cuda" else literal(about.device)
        options.append(f'device_map={{"": {place}}}')
    call = f"BASE, {', '.join(options)}{trusted}"
    if len(call) < 50:
        yield f"    base = {model}.from_pretrained({call})"
    else:
        yield f"    base = {model}.from_pretrained("
        yield f"        {call}"
        yield "    )"
    yield "    base.config.use_cache = False"
    yield "    return base.requires_grad_(False)"
