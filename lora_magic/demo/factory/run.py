"""One pretraining run: the model, its optimizers, its progress, and the best weights so far.

The steps, the seed and the order of the data are fixed, so that a resumed run ends with the same
weights, bit for bit. Muon for the matrices, AdamW for the rest (K. Jordan et al., "Muon", 2024),
bf16 arithmetic, packed documents. Knows no files outside its own folder.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import tokenizers
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody reads
import transformers
from tokenizers import Tokenizer
from torch import Tensor, nn

from lora_magic.demo.factory import corpus, measure, packing, vocabulary, worded
from lora_magic.demo.factory.plan import Plan, Point, build, optimizers
from lora_magic.demo.texts import answers, split
from lora_magic.demo.texts.family import Question
from lora_magic.errors import TrainingError

# The share of validation questions in people's words, and of the others about what the world does
# not hold.
_WORDED = 0.75
_UNKNOWN = 0.1


@cache
def validation(count: int) -> tuple[Question, ...]:
    """The questions that choose the best weights; none of them is a test question."""
    pool = split.of("validation")
    facts = [question for question in pool if answers.is_fact(question)]
    unknown = [question for question in pool if question.family == "unknown"]
    rng, plain = Random(0), count - round(count * _WORDED)
    few = round(plain * _UNKNOWN)
    asked = (*rng.sample(facts, plain - few), *rng.sample(unknown, few))
    return (*asked, *worded.questions("validation", count - plain))


class Run:
    """One pretraining run in its own folder; resumes from the checkpoint there, if any."""

    def __init__(self, plan: Plan, work: Path) -> None:
        self.plan, self.work = plan, work
        work.mkdir(parents=True, exist_ok=True)
        self.corpus = corpus.fingerprint(plan.seed)
        self.tokenizer = self._tokenizer()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = build(plan).to(self.device)
        self.optimizers = optimizers(self.model, plan)
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.curve: list[Point] = []
        self.best: dict[str, Tensor] = {}
        self.best_point: Point | None = None
        self.sessions: list[dict[str, Any]] = []
        self.smooth = 0.0
        self._shard: tuple[int, packing.Shard] | None = None
        self._resume()

    def _tokenizer(self) -> Tokenizer:
        """The tokenizer of these texts; one that was copied into the folder is used as it is."""
        path, texts = self.work / "tokenizer.json", self.work / "tokenizer.corpus"
        stale = texts.exists() and texts.read_text() != self.corpus
        if stale or not path.exists():
            trained = vocabulary.train_tokenizer(self.plan.seed)
            trained.save(str(self.work / "tokenizer.tmp"))
            texts.write_text(self.corpus)
            os.replace(self.work / "tokenizer.tmp", path)
        return Tokenizer.from_file(str(path))

    def _resume(self) -> None:
        path = self.work / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location=self.device)
        # Only the number of steps may differ: it moves the end of the schedule.
        saved_plan = replace(Plan(**state["plan"]), steps=self.plan.steps)
        if saved_plan != self.plan:
            raise TrainingError(
                f"{path} is of {saved_plan}, expected {self.plan}; "
                "choose another folder with --work."
            )
        if state["corpus"] != self.corpus:
            raise TrainingError(
                f"{path} was trained on other texts; choose another folder with --work."
            )
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.curve = [Point(**point) for point in state["curve"]]
        self.best = state["best"]
        self.best_point = Point(**state["best_point"]) if state["best_point"] else None
        self.sessions, self.smooth = state["sessions"], state["smooth"]

    def save(self) -> None:
        """Write a checkpoint under a temporary name, then rename it: never half a checkpoint."""
        state = {
            "plan": asdict(self.plan),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "curve": [asdict(point) for point in self.curve],
            "best": self.best,
            "best_point": asdict(self.best_point) if self.best_point else None,
            "sessions": self.sessions,
            "smooth": self.smooth,
            "corpus": self.corpus,
        }
        torch.save(state, self.work / "state.tmp")
        os.replace(self.work / "state.tmp", self.work / "state.pt")

    def start_session(self) -> None:
        """Record the device and the versions with which the run continues from this step."""
        session = {
            "from_step": self.step,
            "planned_steps": self.plan.steps,
            "device": _name(self.device),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            # A plain str: a checkpoint cannot hold torch's own version type.
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        }
        self.sessions.append(session)

    def batch(self) -> packing.Batch:
        """The batch of this step; the order depends on the step alone."""
        plan = self.plan
        number, offset = divmod(self.step, plan.shard_steps)
        if self._shard is None or self._shard[0] != number:
            rows = plan.rows * plan.shard_steps
            made = packing.shard(self.tokenizer, plan.seed, number, rows, plan.length)
            self._shard = (number, made)
        rows_of_step = slice(offset * plan.rows, (offset + 1) * plan.rows)
        return self._shard[1].batch(rows_of_step).to(self.device)

    def set_rates(self) -> None:
        """Set the learning rates of this step."""
        factor = self.plan.factor(self.step)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def validate(self) -> Point:
        """Measure the right-fact score; remember the weights unless earlier ones were better."""
        self.model.eval()
        asked = validation(self.plan.judged)
        score = measure.score(measure.answers(self.model, self.tokenizer, asked, 48))
        self.model.train()
        loss, seconds = round(self.smooth, 4), round(self.seconds)
        point = Point(self.step, self.tokens, loss, score.right, score.ended, seconds)
        self.curve.append(point)
        # Of equal scores the later weights win: their learning rate is smaller.
        if self.best_point is None or point.right >= self.best_point.right:
            self.best_point = point
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        return point


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def loss_of(model: nn.Module, batch: packing.Batch) -> Tensor:
    """Mean cross-entropy of the next token, bf16 inside, float32 at the end."""
    with torch.autocast(batch.tokens.device.type, dtype=torch.bfloat16):
        logits = model(
            input_ids=batch.tokens,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
        ).logits
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), batch.labels[:, 1:].flatten(), ignore_index=-100
    )


def train(
    run: Run,
    every: int = 500,
    stop: int | None = None,
    *,
    compiled: bool = True,
    on_step: Callable[[Run], None] | None = None,
) -> None:
    """Train to the last step, or to `stop`; validate and save every `every` steps.

    `on_step` is called after each step.
    """
    loss_function = torch.compile(loss_of) if compiled else loss_of
    last = min(stop or run.plan.steps, run.plan.steps)
    parameters = list(run.model.parameters())
    while run.step < last:
        begun = time.perf_counter()
        batch = run.batch()
        run.set_rates()
        loss = loss_function(run.model, batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in run.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        run.step += 1
        run.tokens += int((batch.labels != -100).sum())
        run.smooth = 0.98 * run.smooth + 0.02 * loss.item() if run.smooth else loss.item()
        if run.step % every == 0 or run.step == run.plan.steps:
            run.validate()
        # The time includes validation.
        run.seconds += time.perf_counter() - begun
        if run.step % every == 0 or run.step == last:
            run.save()
        if on_step:
            on_step(run)
    # A run that paused here may now have a plan that ends here.
    if run.step == run.plan.steps and (not run.curve or run.curve[-1].step < run.step):
        run.validate()
        run.save()
