"""Does an adapter learn its form, and stay true? `python -m lora_magic.demo.factory.adapters`.

Six tasks, three seeds each: a LoRA adapter of rank 8, trained on 150 rows, answers 30 held-out
prompts about subjects that it never saw. Counts the answers in the right form, and those about the
right subject that say something true of it. Training is a plain loop over PEFT, so that the figures
do not depend on the rest of the package.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody reads
from tokenizers import Tokenizer

from lora_magic import demo
from lora_magic.demo.factory import command, corpus, measure
from lora_magic.demo.judge import judge
from lora_magic.demo.texts import split, tasks
from lora_magic.errors import AdapterError

ROWS, PROMPTS, SEEDS = 150, 30, 3
# A pass: answers in form and true answers, of 30, and CPU seconds at most.
MIN_IN_FORM, MIN_TRUE, SECONDS = 28, 24, 60.0
Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Recipe:
    """How an adapter is trained; the defaults are those of the embedded model."""

    rate: float = float(demo.RECIPE["learning_rate"])
    steps: int = int(demo.RECIPE["steps"])
    batch: int = int(demo.RECIPE["batch_size"])
    rank: int = int(demo.RECIPE["rank"])
    alpha: int = int(demo.RECIPE["alpha"])
    targets: str = str(demo.RECIPE["targets"])
    rows: int = ROWS


@dataclass(frozen=True)
class AdapterScore:
    """One adapter: answers in form, true answers, answers that are both; CPU seconds."""

    task: str
    seed: int
    form: int
    content: int
    both: int
    cpu: float

    @property
    def passes(self) -> bool:
        """Whether the adapter reaches every limit."""
        return self.form >= MIN_IN_FORM and self.content >= MIN_TRUE and self.cpu <= SECONDS


def encoded(tokenizer: Tokenizer, rows: Rows) -> list[tuple[list[int], list[int]]]:
    """Rows as (tokens, labels): the loss covers the completion and the end token only."""
    pairs = []
    for prompt, completion in rows:
        prompt_ids = tokenizer.encode(corpus.chat(prompt)).ids
        completion_ids = tokenizer.encode(completion + corpus.END).ids
        pairs.append((prompt_ids + completion_ids, [-100] * len(prompt_ids) + completion_ids))
    return pairs


def train(
    model: Any, tokenizer: Tokenizer, rows: Rows, seed: int = 0, recipe: Recipe | None = None
) -> Any:
    """Train a LoRA adapter with PEFT; changes `model` in place.

    AdamW, 5 % warm-up, then linear to 0; the order of rows is drawn by `seed`.
    """
    from peft import LoraConfig, get_peft_model

    recipe = recipe or Recipe()
    torch.manual_seed(seed)
    targets = _targets(model, recipe.targets)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=targets,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=0.0)
    pairs, rng, order = encoded(tokenizer, rows), Random(seed), list[int]()
    warmup = max(1, recipe.steps // 20)
    for step in range(recipe.steps):
        while len(order) < recipe.batch:
            order += rng.sample(range(len(pairs)), len(pairs))
        taken = [pairs[order.pop(0)] for _ in range(recipe.batch)]
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min(1.0, (step + 1) / warmup) * (1 - step / recipe.steps)
        torch.autograd.backward(_loss(adapted, taken))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return adapted.eval()


def _targets(model: Any, typed: str) -> str | list[str]:
    """Target modules in PEFT's form; raises `AdapterError` for a name that no layer has."""
    if typed == "all-linear":
        return typed
    linear = (n for n, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    known = sorted({name.rsplit(".", 1)[-1] for name in linear} - {"lm_head"})
    for name in typed.split(","):
        if name not in known:
            raise AdapterError(
                f"unknown target module {name!r}; "
                f"expected all-linear, or some of {','.join(known)}."
            )
    return typed.split(",")


def _loss(model: Any, pairs: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    width = max(len(tokens) for tokens, _ in pairs)
    tokens = torch.tensor([t + [measure.PAD_ID] * (width - len(t)) for t, _ in pairs])
    labels = torch.tensor([y + [-100] * (width - len(y)) for _, y in pairs])
    mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t, _ in pairs])
    logits = model(input_ids=tokens, attention_mask=mask).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def trained(
    task: str, seed: int, recipe: Recipe | None = None, weights: Path | None = None
) -> tuple[Any, Tokenizer, float]:
    """The embedded model with an adapter for a task, its tokenizer, and the CPU seconds."""
    model, tokenizer = measure.load(weights)
    recipe = recipe or Recipe()
    begun = time.process_time()
    adapted = train(model, tokenizer, tasks.rows(task, recipe.rows, seed), seed, recipe)
    return adapted, tokenizer, time.process_time() - begun


def evaluate(
    task: str,
    seed: int,
    recipe: Recipe | None = None,
    weights: Path | None = None,
    part: split.Split = "test",
) -> tuple[AdapterScore, tuple[measure.Answered, ...]]:
    """Train one adapter, ask it its prompts: its score and its answers."""
    adapted, tokenizer, cpu = trained(task, seed, recipe, weights)
    answered = measure.answers(adapted, tokenizer, tasks.held_out(task, PROMPTS, seed, part))
    return scored(task, seed, answered, cpu), answered


def scored(
    task: str, seed: int, answered: Sequence[measure.Answered], cpu: float = 0.0
) -> AdapterScore:
    """The score of answers to a task's prompts; an answer that does not end is not in form."""
    form = [in_form(answer, task) for answer in answered]
    content = [judge(a.question, a.text).right for a in answered]
    both = sum(one and other for one, other in zip(form, content, strict=True))
    return AdapterScore(task, seed, sum(form), sum(content), both, cpu)


def in_form(answer: measure.Answered, task: str) -> bool:
    """Whether an answer is in the form of a task and ends."""
    return answer.ended and tasks.is_in_form(answer.text, task)


def base_row(task: str, seeds: int, weights: Path | None, part: split.Split) -> list[AdapterScore]:
    """The base's own scores on a task's prompts, for comparison."""
    model, tokenizer = measure.load(weights)
    return [
        scored(task, s, measure.answers(model, tokenizer, tasks.held_out(task, PROMPTS, s, part)))
        for s in range(seeds)
    ]


def main(argv: list[str] | None = None) -> None:
    """Print the table, and with --answers the answers."""
    parser = command.parser("adapters", __doc__)
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=tasks.TASKS,
        default=list(demo.ADAPTERS),
        help="one adapter for each (the demo's six)",
    )
    for flag, default, about in (
        ("--seeds", SEEDS, "seeds for each task"),
        ("--steps", Recipe.steps, "optimizer steps"),
        ("--rank", Recipe.rank, "rank r of A and B"),
        ("--rows", Recipe.rows, "training rows"),
    ):
        parser.add_argument(
            flag, type=command.positive, default=default, help=f"{about} (%(default)s)"
        )
    parser.add_argument(
        "--rate", type=float, default=Recipe.rate, help="learning rate (%(default)s)"
    )
    parser.add_argument(
        "--targets",
        default=Recipe.targets,
        help="module names with commas, or all-linear (%(default)s)",
    )
    parser.add_argument(
        "--part",
        choices=("test", "validation"),
        default="test",
        help="which held-out prompts to ask (%(default)s); choose a recipe with validation",
    )
    parser.add_argument(
        "--weights", type=Path, help="a folder that pretrain wrote (the embedded model)"
    )
    parser.add_argument(
        "--threads", type=command.positive, default=1, help="torch threads (%(default)s)"
    )
    parser.add_argument(
        "--answers", action="store_true", help="print the answers of the first seed too"
    )
    flags = parser.parse_args(argv)
    torch.set_num_threads(flags.threads)
    recipe = Recipe(
        flags.rate, flags.steps, rank=flags.rank, targets=flags.targets, rows=flags.rows
    )
    print(f"{recipe}; of {PROMPTS} {flags.part} prompts, {flags.seeds} seeds")
    print(f"{'adapter':9} {'form':>14} {'content':>14} {'both':>14}  CPU s   (base's form)")
    for task in flags.tasks:
        found = [
            evaluate(task, seed, recipe, flags.weights, flags.part) for seed in range(flags.seeds)
        ]
        base = base_row(task, flags.seeds, flags.weights, flags.part)
        _show([figures for figures, _ in found], base)
        if flags.answers:
            _show_answers(task, found[0][1])


def _show(found: Sequence[AdapterScore], base: Sequence[AdapterScore]) -> None:
    columns = ("form", "content", "both")
    figures = [" ".join(f"{getattr(one, c):4}" for one in found) for c in columns]
    line = "  ".join(f"{figure:>14}" for figure in figures)
    verdict = "takes" if all(one.passes for one in found) else "misses"
    floor = " ".join(str(one.form) for one in base)
    cpu = max(one.cpu for one in found)
    print(f"{found[0].task:9} {line}  {cpu:4.0f}  {verdict:6}  ({floor})", flush=True)


def _show_answers(task: str, answered: Sequence[measure.Answered]) -> None:
    for answer in answered:
        marks = f"{'in form' if in_form(answer, task) else 'not in form'}, "
        print(f"{answer.question.prompt}\n    {answer.text}")
        print(f"    {marks}{judge(answer.question, answer.text)}")


if __name__ == "__main__":
    command.run(main)
