"""One prompt under N adapters: the stacked batch against other ways to the same answers.

    python tests/benchmarks/compare_speed.py [--adapters 8] [--rounds 5] [--tokens 24] [--width 512]

`stacked`: one batch with `StackedLinear` in the slots. `one by one`: each adapter's PEFT layers
swapped in, one after another. `peft mixed`: PEFT's batch with `adapter_names`. `base batch`: the
base alone on as many rows, the lower bound. Each runs once a round, in rotating order, so that a
drift of the machine affects all; the numbers are medians over rounds of the ratio of CPU seconds.
The model is a random Llama; all ways must give the same texts. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from lora_magic.adapters.slots import Slots
from lora_magic.compare.generate import generate
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.stack import StackedLinear
from tests.tiny import tiny_tokenizer

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROMPT = [5 + place % 300 for place in range(32)]
TOKENIZER = tiny_tokenizer()
Road = Callable[[], list[str]]


def a_base(width: int, layers: int) -> Any:
    """A random Llama; its vocabulary is the tiny tokenizer's, so that its answers can be read."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=8,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=None,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def with_adapters(base: Any, names: list[str], rank: int) -> Any:
    """PEFT's model over the base with random adapters of these names."""
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS)
    wrapped = get_peft_model(base, config, adapter_name=names[0])
    for name in names[1:]:
        wrapped.add_adapter(name, copy.deepcopy(config))
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.05)
    return wrapped.eval().requires_grad_(False)


def layers_of(wrapped: Any) -> dict[str, Any]:
    """PEFT's layers by module path."""
    modules = wrapped.get_base_model().named_modules()
    return {path: module for path, module in modules if hasattr(module, "lora_A")}


def factors(layer: Any, name: str) -> LowRank:
    return LowRank(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])


def single(wrapped: Any, name: str) -> dict[str, nn.Module]:
    """PEFT's layers with one adapter each, as a session keeps them in its slots."""
    alone = copy.deepcopy(wrapped)
    for other in [other for other in wrapped.peft_config if other != name]:
        alone.delete_adapter(other)
    alone.set_adapter(name)
    return layers_of(alone)


def roads(base: Any, wrapped: Any, names: list[str], tokens: int) -> dict[str, Road]:
    """Each way as a function that returns the answers in the order of `names`."""
    slots, layers = Slots(base), layers_of(wrapped)
    stack = {
        path: StackedLinear(slots.original(path), [factors(layer, name) for name in names])
        for path, layer in layers.items()
    }
    singles = [single(wrapped, name) for name in names]

    def answers(standing: Mapping[str, nn.Module], rows: int) -> list[str]:
        with slots.using(standing):
            made = generate(base, TOKENIZER, [PROMPT] * rows, stop_ids=[], max_new_tokens=tokens)
        return [answer.text for answer in made]

    def mixed() -> list[str]:
        ids = torch.tensor([PROMPT] * len(names), device=base.device)
        greedy = GenerationConfig(max_new_tokens=tokens, do_sample=False)
        with torch.no_grad():
            out = wrapped.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                adapter_names=names,
                generation_config=greedy,
            )
        rows = out[:, len(PROMPT) :].tolist()
        return [str(TOKENIZER.decode(row, skip_special_tokens=True)) for row in rows]

    return {
        "stacked": lambda: answers(stack, len(names)),
        "one by one": lambda: [text for layers in singles for text in answers(layers, 1)],
        "peft mixed": mixed,
        "base batch": lambda: answers({}, len(names)),
    }


def measured(
    roads: dict[str, Road], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of each way, by round: of the CPU, or by another clock."""
    seconds: dict[str, list[float]] = {name: [] for name in roads}
    for turn in range(rounds):
        order = list(roads)
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            start = clock()
            roads[name]()
            seconds[name].append(clock() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag, default in (
        ("adapters", 8), ("rounds", 5), ("tokens", 24), ("width", 512), ("layers", 8), ("rank", 16)
    ):  # fmt: skip
        parser.add_argument(f"--{flag}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    base = a_base(given.width, given.layers)
    names = [f"a{n}" for n in range(given.adapters)]
    found = roads(base, with_adapters(copy.deepcopy(base), names, given.rank), names, given.tokens)
    texts = {name: road() for name, road in found.items()}  # the warm-up, and the proof
    agree = texts["stacked"] == texts["one by one"] == texts["peft mixed"]
    seconds = measured(found, given.rounds)

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 thread")
    print(f"same answers by the three roads: {agree}; distinct: {len(set(texts['stacked']))}")
    for name in ("one by one", "peft mixed", "base batch"):
        ratios = sorted(a / b for a, b in zip(seconds[name], seconds["stacked"], strict=True))
        print(
            f"{name} / stacked: {statistics.median(ratios):.2f}× "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}, {given.rounds} rounds)"
        )


if __name__ == "__main__":
    main()
