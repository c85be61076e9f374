"""One prompt under base and N adapters, and a toggle of base and adapter, against plain PEFT.

    python -m tests.benchmarks.compare [--rounds 5] [--tokens 32]

`compare` and `swap` are the session's. The limit is the bare base: transformers' `generate` with as
many rows and tokens, or the bare forward of one token. The peers are PEFT's mixed batch
(`adapter_names`) and `set_adapter` with one `generate` after another, with the same weights. All
run in turn in one process, in rotating order; a figure is the median over rounds of a ratio of CPU
seconds, with its range. "First text" is the time until a cell can show something, against that of
one adapter alone. The wide base is a random Llama of 6 layers in fp32, its adapters have rank 12
on all linear layers; the embedded model's have their defaults (rank 8 on q and v). All ways must
give the same texts. `roads` has the same without a session, for `python -m tests.gpu`. pytest does
not collect this file.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from lora_magic.adapters.slots import Slots
from lora_magic.compare.generate import generate
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.stack import StackedLinear
from lora_magic.state.session import Session
from tests.tiny import tiny_tokenizer

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROMPT = [5 + place % 300 for place in range(32)]
ASKED = "What does a fox eat?"
TOKENIZER = tiny_tokenizer()
#: A way to the answers, and what it returns: their texts.
Road = Callable[[], list[str]]


def a_base(width: int, layers: int, vocabulary: int = len(TOKENIZER)) -> Any:
    """A random Llama; its vocabulary is the tiny tokenizer's, so that its answers can be read."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
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
    roads: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds of each way, by round: of the CPU, or by another clock."""
    seconds: dict[str, list[float]] = {name: [] for name in roads}
    for turn in range(rounds):
        order = list(roads)
        order = order[turn % len(order) :] + order[: turn % len(order)]
        # Each is measured before and after each other, so that none profits from its neighbour.
        for name in order if turn % 2 else reversed(order):
            start = clock()
            roads[name]()
            seconds[name].append(clock() - start)
    return seconds


def a_session(base: str, count: int, folder: str) -> Session:
    """A session on the embedded model or on a random base of that width, with random adapters."""
    session = Session()
    if base == "demo":
        session.load(base)
    else:
        demo = Session()
        demo.load("demo")
        a_base(int(base), 6, len(demo.tokenizer)).save_pretrained(folder)
        demo.tokenizer.save_pretrained(folder)
        demo.reset()
        session.load(folder)
    flags: dict[str, Any] = {} if base == "demo" else {"rank": 12, "targets": ",".join(TARGETS)}
    torch.manual_seed(1)
    for number in range(count):
        session.attach(f"a{number}", **flags)
        for _, tensor in session._state.attached[f"a{number}"].tensors():
            tensor.data.normal_(0, 0.05)
    session.swap("base")
    return session


def bare(session: Session) -> Any:
    """A copy of the base, which forces no token and ends at none."""
    with session._state.slots.using({}):
        model = copy.deepcopy(session.model)
    model.generation_config = GenerationConfig()
    return model.eval()


def by_peft(session: Session) -> Any:
    """PEFT's model with the same base and adapters."""
    wrapped: Any = None
    base = bare(session)
    for name, attached in session._state.attached.items():
        spec = attached.spec
        paths = list(attached.replacements)
        config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=paths)
        if wrapped is None:
            wrapped = get_peft_model(base, config, adapter_name=name)
        else:
            wrapped.add_adapter(name, config)
        found = dict(wrapped.get_base_model().named_parameters())
        for key, tensor in attached.tensors():
            found[key.replace(".default.", f".{name}.")].data.copy_(tensor.data)
    return wrapped.eval().requires_grad_(False)


def answers(session: Session, wrapped: Any, tokens: int) -> dict[str, Callable[[], object]]:
    """The ways to the answers of base and adapters, and those to the first text."""
    names, base = list(session.adapters), bare(session)
    shown = session.compare(ASKED, max_new_tokens=tokens)
    steps = max(pane.tokens for pane in shown.panes)
    form = session._state.form_of("base")
    row = torch.tensor([form.encode(session.tokenizer, ASKED)])
    rows = row.repeat(len(names) + 1, 1)
    flags = GenerationConfig(
        max_new_tokens=steps, min_new_tokens=steps, do_sample=False, pad_token_id=0
    )

    @torch.no_grad()
    def texts(model: Any, ids: torch.Tensor, **more: Any) -> list[str]:
        mask = torch.ones_like(ids)
        made = model.generate(input_ids=ids, attention_mask=mask, generation_config=flags, **more)
        return [_text(session, one, form.stop_ids) for one in made[:, row.shape[1] :].tolist()]

    def one_by_one() -> list[str]:
        with wrapped.disable_adapter():
            found = texts(wrapped, row)
        for name in names:
            wrapped.set_adapter(name)
            found += texts(wrapped, row)
        return found

    def ours(watch: Any = None) -> list[str]:
        found = session.compare(ASKED, max_new_tokens=tokens, watch=watch)
        return [pane.text for pane in found.panes]

    ways: dict[str, Callable[[], Any]] = {
        "limit": lambda: texts(base, rows),
        "compare": ours,
        "mixed batch": lambda: texts(wrapped, rows, adapter_names=["__base__", *names]),
        "set_adapter": one_by_one,
    }
    expected = [pane.text for pane in shown.panes]
    for name in ("compare", "mixed batch", "set_adapter"):
        if (found := ways[name]()) != expected:
            raise SystemExit(f"other answers by {name}: {found} for {expected}")
    session.swap(names[0])
    ways["first of one"] = lambda: session.ask(ASKED, max_new_tokens=tokens, watch=_end)
    ways["first text"] = lambda: ours(_end)
    return ways


def _end(text: Callable[[], object]) -> bool:
    text()
    return True


def _text(session: Session, row: Sequence[int], stops: Sequence[int]) -> str:
    end = next((place for place, token in enumerate(row) if token in stops), None)
    return str(session.tokenizer.decode(row[:end], skip_special_tokens=True))


def toggles(session: Session, wrapped: Any) -> dict[str, Callable[[], object]]:
    """Ten times base or adapter in turn, and one token each time."""
    name, ids = next(iter(session.adapters)), torch.tensor([[5]])

    @torch.no_grad()
    def token(model: Any) -> Any:
        return model(input_ids=ids).logits

    def ours() -> None:
        for turn in range(10):
            session.swap(name if turn % 2 else "base")
            token(session.model)

    def peft() -> None:
        for turn in range(10):
            if turn % 2:
                wrapped.set_adapter(name)
                token(wrapped)
            else:
                with wrapped.disable_adapter():
                    token(wrapped)

    session.swap(name)
    wrapped.set_adapter(name)
    torch.testing.assert_close(token(session.model), token(wrapped))
    base = bare(session)
    return {"limit": lambda: [token(base) for _ in range(10)], "swap": ours, "set_adapter": peft}


def _times(seconds: Mapping[str, list[float]], one: str, other: str) -> str:
    """The median of one's seconds over the other's, and the range."""
    ratios = sorted(a / b for a, b in zip(seconds[one], seconds[other], strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag, default in (("rounds", 5), ("tokens", 32)):
        parser.add_argument(f"--{flag}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ {shlex.join(['python', '-m', 'tests.benchmarks.compare', *sys.argv[1:]])}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 thread")
    print(f"CPU seconds, medians of {given.rounds} rounds; the same answers by all ways\n")
    heads = ("time over the bare base's", "speed over PEFT's mixed batch", "over set_adapter")
    print(f"| base, adapters | {' | '.join(heads)} | first text, over one adapter's |")
    print("|---|---|---|---|---|")
    toggled = []
    for base, count in (("640", 5), ("640", 8), ("demo", 5)):
        with tempfile.TemporaryDirectory() as folder:
            session = a_session(base, count, folder)
            wrapped = by_peft(session)
            seconds = measured(answers(session, wrapped, given.tokens), given.rounds)
            pairs = (("compare", "limit"), ("mixed batch", "compare"), ("set_adapter", "compare"))
            cells = [_times(seconds, *pair) for pair in (*pairs, ("first text", "first of one"))]
            kind = "the embedded model" if base == "demo" else f"width {base}, 6 layers"
            print(f"| {kind}, {count} | {' | '.join(cells)} |", flush=True)
            if count == 5:
                found = measured(toggles(session, wrapped), 3 * given.rounds)
                cells = [_times(found, "swap", "limit"), _times(found, "set_adapter", "swap")]
                toggled.append(f"| {kind}, {count} | {' | '.join(cells)} |")
            session.reset()
    print("\n| base, adapters | a toggle and a token, over the bare forward | speed over PEFT's |")
    print("|---|---|---|", *toggled, sep="\n")


if __name__ == "__main__":
    main()
