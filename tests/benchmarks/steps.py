"""What the training benchmark trains and how it counts: models, rows, the two sides, the clock.

Knows the session and PEFT + transformers' Trainer; knows no table. Both sides read the same tokens
in the same steps. Only the steps count, from the end of the first one to the end of the last, so
that neither side's set-up is in the figures. On a CPU the clock is this process's CPU time, since
other work on the machine takes wall time; on a GPU it is wall time, and waits for the device.
"""

from __future__ import annotations

import copy
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import SequentialSampler
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from lora_magic.data.row import Row
from lora_magic.state import train
from lora_magic.state.prepare import form_for, prepare
from lora_magic.state.session import Session
from lora_magic.training import batches
from lora_magic.training.encode import Example
from lora_magic.training.reporter import SilentReporter, StepPoint
from tests.tiny import tiny_tokenizer

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
#: Of the prompt's and completion's words; what they say does not matter.
WORDS = ["the", "fox", "eats", "where", "pond", "berry", "north", "water", "a", "library", "dog"]

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 176, "layers": 2},
    "small": {"vocab_size": 4096, "hidden_size": 64, "intermediate_size": 176, "layers": 2},
    "1m": {"vocab_size": 2048, "hidden_size": 128, "intermediate_size": 352, "layers": 4},
    "16m-32k": {"vocab_size": 32_000, "hidden_size": 256, "intermediate_size": 704, "layers": 10},
    "16m-2k": {
        **{"vocab_size": 2048, "hidden_size": 384, "intermediate_size": 1024, "layers": 8},
        "tie_word_embeddings": False,
    },
    "60m-32k": {"vocab_size": 32_000, "hidden_size": 512, "intermediate_size": 1408, "layers": 14},
    "1b": {
        **{"vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192, "layers": 16},
        "kv": 8,
    },
}


@dataclass(frozen=True)
class Machine:
    """Where the figures are taken, and in which number format the base is."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")

    def now(self) -> float:
        """Seconds: of the CPU, or on a GPU of the wall."""
        if not self.cuda:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def rate(self, size: int = 1024, seconds: float = 0.3) -> float:
        """Floating-point operations a second of the best product of size³."""
        a, b = (torch.randn(size, size, device=self.device).to(self.dtype) for _ in range(2))
        best, until = 0.0, time.perf_counter() + seconds
        while time.perf_counter() < until or not best:
            began = self.now()
            for _ in range(4):
                a @ b
            best = max(best, 8 * size**3 / (self.now() - began))
        return best


class Clock(SilentReporter, TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """`seconds` of the steps but the first; with `memory` instead their `peak` above its end.

    A reporter of our runs and a callback of the Trainer. Several runs add up, one after another or
    together. The peak is by torch's own memory events, on a GPU by its allocator.
    """

    def __init__(self, machine: Machine, steps: int, memory: bool = False) -> None:
        super().__init__()
        self._machine, self._steps, self._memory = machine, steps, memory
        self._last = 0.0
        self._profile: Any = None
        self._before: int | None = None
        self.seconds = 0.0
        self.peak = 0

    def step(self, point: StepPoint) -> None:
        """Our side's; adapters that are trained together come one after another."""
        self._ended(point.step)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """The Trainer's."""
        self._ended(state.global_step)

    def _ended(self, step: int) -> None:
        now = self._machine.now()
        if step > 1:
            self.seconds += now - self._last
        if self._memory and step == 1 and self._before is None:
            self._watch()
        if self._memory and step == self._steps and self._before is not None:
            self.peak = max(self.peak, self._watched() - self._before)
            self._before = None
        self._last = self._machine.now()

    def _watch(self) -> None:
        self._before = 0
        if self._machine.cuda:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            return
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profile.start()

    def _watched(self) -> int:
        if self._machine.cuda:
            return torch.cuda.max_memory_allocated()
        self._profile.stop()
        events = self._profile.profiler.kineto_results.events()
        current = peak = 0
        for event in sorted(
            (event for event in events if event.name() == "[memory]"), key=lambda e: e.start_ns()
        ):
            current += event.nbytes()
            peak = max(peak, current)
        return peak


@dataclass(frozen=True)
class Load:
    """What is trained: the base's shape, the rows of a step, and an adapter for each rank."""

    shape: str
    rows: int = 8
    longest: int = 300
    ranks: tuple[int, ...] = (12,)
    shortest: int = 10

    def small(self) -> Load:
        """The same in a second, for tests."""
        return Load("tiny", min(self.rows, 2), min(self.longest, 40), self.ranks, self.shortest)


def a_base(shape: str, machine: Machine) -> tuple[Any, Any]:
    """A random Llama with the tests' tokenizer, or the embedded model with its own."""
    if shape == "embedded":
        session = Session()
        session.load("demo", dtype="fp32", device=machine.device)
        model, tokenizer = session.model, session.tokenizer
        session.reset()
        return model.to(machine.dtype), tokenizer
    fields = dict(SHAPES[shape])
    heads = fields["hidden_size"] // 64
    config = LlamaConfig(
        num_hidden_layers=fields.pop("layers"),
        num_attention_heads=heads,
        num_key_value_heads=fields.pop("kv", heads),
        tie_word_embeddings=fields.pop("tie_word_embeddings", True),
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=3,
        **fields,
    )
    torch.manual_seed(0)
    with torch.device(machine.device):
        model = LlamaForCausalLM(config).to(machine.dtype)
    return model.eval(), tiny_tokenizer()


def some_rows(load: Load, count: int, tokenizer: Any) -> list[Row]:
    """Rows with log-uniform lengths; the completion has 15 to 60 % of the tokens."""
    draw = random.Random(3)
    sizes = {word: len(tokenizer(f" {word}", add_special_tokens=False).input_ids) for word in WORDS}

    def text(tokens: int) -> str:
        words, left = [], tokens
        while left > 0 or not words:
            words.append(draw.choice(WORDS))
            left -= sizes[words[-1]]
        return " ".join(words)

    found = []
    for number in range(count):
        length = load.shortest * (load.longest / load.shortest) ** draw.random()
        share = draw.uniform(0.15, 0.6)
        prompt, answer = text(round(length * (1 - share)) - 3), text(round(length * share) - 2)
        found.append(Row(f"{prompt} {number}", answer, line=number + 1))
    return found


@dataclass
class Sides:
    """Ours and the peer over one base, and what their steps read."""

    load: Load
    steps: int
    machine: Machine
    batches: list[list[Example]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model, self.tokenizer = a_base(self.load.shape, self.machine)
        self.rows = self.some(self.load.rows * self.steps)
        self.session = Session()
        self.session.use(copy.deepcopy(self.model), self.tokenizer)
        self.names = [f"a{number}" for number in range(len(self.load.ranks))]
        for name, rank in zip(self.names, self.load.ranks, strict=True):
            self.session.attach(name, rank=rank, alpha=2 * rank, targets="all-linear")
        self.flags: dict[str, Any] = {
            **{"steps": self.steps, "batch_size": self.load.rows, "eval": 0, "seed": 0},
            "lr": 1e-4,
        }
        self.batches = self._batches()
        self.peers = [self._peer(rank) for rank in self.load.ranks]
        # Each Trainer collects all garbage, which takes longer than its steps.
        gc.freeze()

    def _batches(self) -> list[list[Example]]:
        state = self.session._state
        ready = prepare(
            *(state, state.attached[self.names[0]], self.rows, form_for(state, None, None, None)),
            **{"held_out": None, "guard": None, "skip_bad": False, "notes": ""},
            flags=self.flags,
        )
        examples = ready.encoded.examples
        spec = ready.spec.fitted(len(examples))
        steps = batches.steps(len(examples), spec)
        return [[examples[index] for part in step for index in part] for step in steps]

    @property
    def counted(self) -> list[list[Example]]:
        """The steps that count."""
        return self.batches[1:]

    @property
    def real(self) -> int:
        """Tokens of the rows in the steps that count."""
        return sum(len(example.tokens) for step in self.counted for example in step)

    @property
    def padded(self) -> int:
        """The same with padding."""
        return sum(len(step) * max(len(e.tokens) for e in step) for step in self.counted)

    @property
    def trained(self) -> int:
        """Tokens that the loss covers."""
        return sum(example.trained for step in self.counted for example in step)

    @property
    def work(self) -> float:
        """The least floating-point operations of a real token, on average."""
        return self.least(self.counted) / self.real

    def least(self, steps: Sequence[Sequence[Example]]) -> float:
        """The least floating-point operations of steps, of the adapters' runs on average.

        A product with a frozen weight forward and for x's gradient, three for each factor, and the
        head for trained tokens only. Without attention, norms and activations.
        """
        config: Any = self.model.config
        h, i, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
        narrow = h * config.num_key_value_heads // config.num_attention_heads
        linear = layers * (2 * h * h + 2 * h * narrow + 3 * h * i)
        widths = layers * (4 * h + 2 * (h + narrow) + 3 * (h + i))
        each = 4 * linear + 6 * statistics.mean(self.load.ranks) * widths
        tokens = sum(len(example.tokens) for step in steps for example in step)
        trained = sum(example.trained for step in steps for example in step)
        return each * tokens + 4 * config.vocab_size * h * trained

    def some(self, count: int) -> list[Row]:
        """Rows of the load's lengths."""
        return some_rows(self.load, count, self.tokenizer)

    def clock(self, memory: bool = False) -> Clock:
        """A new one."""
        return Clock(self.machine, self.steps, memory)

    def ours(self, clock: Clock, arm: int = 0, **flags: Any) -> None:
        """One adapter's run in the session."""
        state = self.session._state
        train.train(
            *(state, state.attached[self.names[arm]], self.rows),
            **{"template": None, "system": None, "more": False, "measured": False},
            reporter=clock,
            **self.flags,
            **flags,
        )

    def padded_batch(self, step: int) -> dict[str, torch.Tensor]:
        """The peer's inputs of a step, counted from 0."""
        return batches.collate(self.batches[step], 3)

    def peer(self, clock: Clock, arm: int = 0) -> None:
        """One adapter's run with PEFT and the Trainer, padded, with the model's own loss."""
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=self.steps,
                per_device_train_batch_size=self.load.rows,
                learning_rate=self.flags["lr"],
                max_grad_norm=1.0,
                use_cpu=not self.machine.cuda,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
                log_level="critical",
            )
            trainer = _InOrder(
                model=self.peers[arm],
                args=arguments,
                train_dataset=[example for step in self.batches for example in step],
                data_collator=lambda some: batches.collate(some, 3),
                callbacks=[clock],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()

    def together(self, clock: Clock) -> None:
        """All adapters in one run of the session."""
        from lora_magic.state.arms import Arm, train_arms

        state = self.session._state
        arms = [Arm(state.attached[name], {"lr": 1e-4}) for name in self.names]
        train_arms(state, arms, self.rows, flags=self.flags, reporter=clock)

    def _peer(self, rank: int) -> Any:
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=ALL_LINEAR)
        return get_peft_model(copy.deepcopy(self.model), config)

    def close(self) -> None:
        """Free the models."""
        self.session.reset()
        self.peers.clear()
        del self.model
        gc.unfreeze()
        gc.collect()


class _InOrder(Trainer):  # type: ignore[misc]  # transformers has no types
    def _get_train_sampler(self, *args: Any, **rest: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def in_turn(ways: dict[str, Callable[[], float]], pairs: int) -> dict[str, list[float]]:
    """Seconds of each way by pair; the order turns round each time, so that a drift meets all."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for pair in range(pairs):
        for name in list(ways)[:: 1 if pair % 2 else -1]:
            found[name].append(ways[name]())
    return found


def ratio(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """The median of the paired ratios, the smallest and the largest."""
    found = sorted(a / b for a, b in zip(one, other, strict=True))
    return statistics.median(found), found[0], found[-1]
