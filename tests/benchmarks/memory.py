"""Predicted against measured memory: the table of tests/benchmarks/README.md.

    python -m tests.benchmarks.memory [--cases NAME …] [--device cpu|cuda]

Each case is a random model, in a process of its own. Measured are the bytes of the weights, base
and adapter, by their storages, and above them the allocator's peak during the session's run or
answer: on a CPU by torch's profiler, on a GPU by `max_memory_allocated`. Predicted is what `plan`
says from the config and the adapter's spec alone. The cases in `CHECK` tuned nothing: `FROZEN` has
what was predicted for them before they were measured for the first time. pytest does not collect
this file.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import random
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.spec import USUAL, AdapterSpec
from lora_magic.cost.config import model_of
from lora_magic.cost.memory import Memory, memory
from lora_magic.cost.setting import Setting

#: Steps of a run; the optimizer's moments exist from the second one on.
STEPS = 2
#: Of a row's tokens, how many have a label.
TRAINED = 0.5
#: The agreement that is asked for.
LIMIT = 0.1


@dataclass(frozen=True)
class Case:
    """One row of the table: a config's values, and how the model is used.

    `rows` rows of `length` tokens make one pass of a run, or are answered at once. `labels` makes
    the model a classifier.
    """

    name: str
    config: dict[str, Any]
    rows: int
    length: int
    adapter: dict[str, Any] | None = None
    dtype: str = "fp32"
    bits: int | None = None
    labels: int = 0
    flags: dict[str, Any] = field(default_factory=dict)

    @property
    def training(self) -> bool:
        """A run, and not an answer."""
        return self.adapter is not None

    @property
    def spec(self) -> AdapterSpec | None:
        """The adapter's, as `attach` makes it."""
        if self.adapter is None:
            return None
        reads = METHODS[self.adapter.get("method", "lora")].reads("targets")
        return AdapterSpec(**({"targets": USUAL} if reads else {}) | self.adapter)

    def predicted(self, *, cuda: bool = False) -> Memory:
        """By part, from the config and the spec."""
        more = {"task": "classification", "labels": self.labels} if self.labels else {}
        model = model_of(self.config, **more)
        setting = Setting(
            dtype=self.dtype,
            bits=self.bits,
            rows=self.rows,
            length=self.length,
            spec=self.spec,
            training=self.training,
            optimizer=self.flags.get("optimizer", "paged-adamw" if self.bits else "adamw"),
            checkpointing=self.flags.get("checkpointing", False),
            trained=round(self.rows * self.length * TRAINED),
            cuda=cuda,
            plain=self.flags.get("plain_step", False),
        )
        return memory(model, setting)


def _llama(width: int, layers: int, inner: int, words: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": 4096,
        **more,
    }


def _gpt2(width: int, layers: int, words: int, **more: Any) -> dict[str, Any]:
    sizes = {"n_embd": width, "n_layer": layers, "n_head": width // 64, "n_positions": 2048}
    return {"model_type": "gpt2", **sizes, "vocab_size": words, **more}


def _bert(width: int, layers: int, words: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
        "vocab_size": words,
        "max_position_embeddings": 512,
        **more,
    }


def _opt(width: int, layers: int, words: int) -> dict[str, Any]:
    return {
        "model_type": "opt",
        "hidden_size": width,
        "word_embed_proj_dim": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "ffn_dim": 4 * width,
        "vocab_size": words,
        "max_position_embeddings": 2048,
    }


def _lora(rank: int, targets: str = "all-linear", **more: Any) -> dict[str, Any]:
    return {"rank": rank, "alpha": 2.0 * rank, "targets": targets, **more}


#: The cases that the formula was written with.
TUNED = (
    Case("llama-lora", _llama(384, 8, 1024, 2048), 4, 256, _lora(8)),
    Case("llama-bf16", _llama(512, 8, 1408, 32000), 4, 512, _lora(16), "bf16"),
    Case(
        "llama-plain",
        _llama(512, 6, 1408, 32000),
        2,
        512,
        _lora(8, "q_proj,v_proj"),
        flags={"plain_step": True},
    ),
    Case("llama-nf4", _llama(1024, 6, 2816, 8000), 2, 512, _lora(16), "bf16", 4),
    Case("llama-full", _llama(512, 6, 1408, 8000), 2, 256, {"method": "full"}),
    Case("llama-answer", _llama(512, 8, 1408, 32000), 4, 2000),
    Case("gpt2-lora", _gpt2(384, 6, 8000), 4, 256, _lora(8)),
    Case("gpt2-plain", _gpt2(384, 6, 8000), 4, 256, _lora(8), flags={"plain_step": True}),
    Case("bert-classifier", _bert(384, 6, 8000), 8, 256, _lora(8, "query,value"), labels=3),
)
#: Cases predicted before they were measured.
CHECK = (
    Case(
        "a long text, LoRA",
        _llama(256, 12, 704, 32000, num_key_value_heads=2),
        2,
        2048,
        _lora(16),
    ),
    Case(
        "a vocabulary of 128,000, all logits",
        _llama(256, 4, 1024, 128_000, tie_word_embeddings=True),
        1,
        640,
        _lora(8, "q_proj,v_proj"),
        flags={"plain_step": True},
    ),
    Case("full fine-tuning", _llama(512, 6, 1408, 20000), 2, 128, {"method": "full"}),
    Case(
        "full fine-tuning, bf16, tied",
        _llama(512, 4, 1408, 16000, tie_word_embeddings=True),
        2,
        256,
        {"method": "full"},
        "bf16",
    ),
    Case("GPT-2, Houlsby", _gpt2(512, 8, 16000), 4, 384, {"method": "houlsby", "rank": 32}),
    Case("GPT-2, BitFit, bf16", _gpt2(512, 8, 16000), 4, 448, {"method": "bitfit"}, "bf16"),
    Case(
        "BERT, a classifier, LoRA", _bert(512, 8, 16000), 8, 384, _lora(8, "query,value"), labels=2
    ),
    Case(
        "NF4, checkpointing",
        _llama(1024, 8, 2816, 16000),
        4,
        512,
        _lora(16),
        "bf16",
        4,
        flags={"checkpointing": True},
    ),
    Case(
        "an answer to a long text, bf16",
        _llama(512, 8, 1408, 32000, num_key_value_heads=4),
        4,
        4000,
        None,
        "bf16",
    ),
    Case("OPT, LoRA with dropout", _opt(512, 8, 16000), 4, 512, _lora(8, dropout=0.05)),
    Case("(IA)³, bf16", _llama(512, 12, 1408, 16000), 4, 640, {"method": "ia3"}, "bf16"),
    Case(
        "prefix tuning",
        _llama(256, 8, 704, 4000, num_key_value_heads=2),
        4,
        512,
        {"method": "prefix", "virtual_tokens": 16},
    ),
    # Added after "an answer to a long text, bf16" had missed.
    Case(
        "an answer to another long text",
        _llama(384, 6, 1024, 8000, num_key_value_heads=2),
        3,
        3000,
    ),
)

#: What was predicted for them before the first measurement, in bytes.
FROZEN = {
    "a long text, LoRA": 1_178_063_872,
    "a vocabulary of 128,000, all logits": 1_182_899_712,
    "full fine-tuning": 1_113_118_720,
    "full fine-tuning, bf16, tied": 607_704_064,
    "GPT-2, Houlsby": 1_350_367_232,
    "GPT-2, BitFit, bf16": 1_144_786_944,
    "BERT, a classifier, LoRA": 1_763_559_472,
    "NF4, checkpointing": 402_430_176,
    "an answer to a long text, bf16": 508_515_328,
    "OPT, LoRA with dropout": 1_238_343_680,
    "(IA)³, bf16": 953_239_552,
    "prefix tuning": 407_987_200,
    "an answer to another long text": 363_232_704,
}


def weights_of(session: Any) -> int:
    """The bytes of base and adapters, each storage once."""
    from lora_magic.base.quantise import state_tensors

    roots = [session.model]
    for attached in session._state.attached.values():
        roots += attached.replacements.values()
    tensors = [t for root in roots for t in (*root.parameters(), *root.buffers())]
    tensors += [t for a in session._state.attached.values() for t in a.start.values()]
    for module in session.model.modules():
        tensors += [t for key in module._parameters for t in state_tensors(module, key).values()]
    found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(found.values())


def peak_of(work: Callable[[], object], *, cuda: bool) -> int:
    """The allocator's peak during work, above its start."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    gc.collect()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return int(torch.cuda.max_memory_allocated() - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    events = [e for e in watched.profiler.kineto_results.events() if e.name() == "[memory]"]
    current = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        current += event.nbytes()
        peak = max(peak, current)
    return int(peak)


def session_of(case: Case, folder: str, device: str) -> Any:
    """A session with the case's model, random, and its adapter."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    from lora_magic.state.session import Session
    from tests.tiny import tiny_tokenizer

    torch.manual_seed(0)
    ids = {"pad_token_id": 3, "bos_token_id": None, "eos_token_id": 0}
    if case.labels:
        ids["num_labels"] = case.labels
    config = AutoConfig.for_model(**{**ids, **case.config})
    kind = AutoModelForSequenceClassification if case.labels else AutoModelForCausalLM
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[case.dtype]
    model = kind.from_config(config, dtype=dtype).eval()
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 10**6
    session = Session()
    if case.bits:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        session.load(folder, bits=case.bits, dtype=case.dtype, device=device)
    else:
        session.use(model.to(device), tokenizer)
    if case.adapter is not None:
        session.attach("a", **case.adapter)
    return session


def rows_of(case: Case, tokenizer: Any) -> list[tuple[str, str]]:
    """Rows that are cut to the case's length, or a few tokens shorter."""
    draw = random.Random(0)
    words = ["the", "fox", "eats", "where", "pond", "berry"]

    def text(tokens: int) -> str:
        found: list[str] = []
        while True:
            found += [draw.choice(words) for _ in range(max(1, tokens // 8))]
            ids = tokenizer(" ".join(found), add_special_tokens=False).input_ids
            if len(ids) >= tokens:
                return str(tokenizer.decode(ids[:tokens]))

    half = round(case.length * TRAINED)
    count = case.rows * (STEPS if case.training else 1)
    if case.labels:
        return [(text(case.length - 3 * (n % 2)), f"LABEL_{n % 2}") for n in range(count)]
    return [(text(case.length - half - 8 - n % 3), text(half + 8)) for n in range(count)]


def measured(case: Case, device: str) -> int:
    """The bytes of the weights and the peak above them."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cuda = device.startswith("cuda")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # sessions write into the working directory
        session = session_of(case, os.path.join(folder, "model"), device)
        rows = rows_of(case, session.tokenizer)
        flags = {"steps": STEPS, "batch_size": case.rows, "max_length": case.length, "eval": 0}
        flags |= case.flags

        def work() -> None:
            if case.training:
                session.train("a", rows, lr=1e-4, **flags)
            else:
                _answer(session, rows, case)

        found = weights_of(session) + peak_of(work, cuda=cuda)
        os.chdir("/")
    return found


def _answer(session: Any, rows: list[tuple[str, str]], case: Case) -> None:
    """Read the rows as prompts of the case's length, and generate two tokens."""
    from lora_magic.compare.generate import generate

    tokenizer = session.tokenizer
    ids = [
        tokenizer(f"{a} {b}").input_ids[: case.length - 2 - n % 2] for n, (a, b) in enumerate(rows)
    ]
    generate(session.model, tokenizer, ids, stop_ids=[0], max_new_tokens=2)


def table(cases: tuple[Case, ...], device: str) -> Iterator[str]:
    """A line for each case."""
    yield "| case | predicted, GB | measured, GB | predicted / measured |"
    yield "|---|---|---|---|"
    for case in cases:
        began = time.monotonic()
        line = row(case, predicted(case, device), in_child(case, device))
        print(f"{case.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        yield line


def row(case: Case, found: int, real: int) -> str:
    """Of a check case the ratio before its first measurement is given, too, if it was another."""
    ratio, first = found / real, FROZEN.get(case.name, found) / real
    told = f"{ratio:.3f}" + ("" if abs(ratio - 1) <= LIMIT else " (missed)")
    told += f", first {first:.3f}" if f"{first:.3f}" != f"{ratio:.3f}" else ""
    name = f"{case.name} (check)" if case.name in FROZEN else case.name
    return f"| {name} | {found / 1e9:.3f} | {real / 1e9:.3f} | {told} |"


def predicted(case: Case, device: str) -> int:
    """The predicted peak."""
    return case.predicted(cuda=device.startswith("cuda")).peak


def in_child(case: Case, device: str) -> int:
    """The measured peak, in a new process."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--one", case.name]
    done = subprocess.run(
        [*command, "--device", device], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return int(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.memory", description=__doc__.split("\n")[0]
    )
    every = {case.name: case for case in (*TUNED, *CHECK)}
    parser.add_argument("--cases", nargs="+", default=list(every), help="names, all by default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(every[given.one], given.device)))
        return
    if unknown := sorted(set(given.cases) - set(every)):
        sys.exit(f"--cases {unknown[0]!r}: expected names among {'; '.join(every)}")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ {shlex.join(['python', '-m', 'tests.benchmarks.memory', *sys.argv[1:]])}")
    day, python = datetime.date.today(), platform.python_version()
    print(f"{day} · Python {python}, {versions} · {given.device}, one thread\n")
    chosen = tuple(every[name] for name in given.cases)
    for line in table(chosen, given.device):
        print(line, flush=True)


if __name__ == "__main__":
    main()
