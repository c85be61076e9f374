"""Pretraining of the embedded base model: `python -m lora_magic.demo.pretrain`.

One command, a fixed seed, steps and not seconds; started again it goes on from its last
checkpoint. Muon for the matrices, AdamW for the rest (K. Jordan et al., "Muon", 2024), a rate
that is constant and then falls to zero, bf16 arithmetic, whole documents packed with a mask.
It knows the corpus through packed shards and the model through transformers' Llama.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import tokenizers
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody reads
import transformers
from tokenizers import Tokenizer
from torch import Tensor, nn

from lora_magic.demo import measure
from lora_magic.demo.checksums import write_checksums
from lora_magic.demo.making import packing, vocabulary
from lora_magic.demo.making.plan import Plan, Point, build, optimizers
from lora_magic.demo.texts import corpus, split
from lora_magic.demo.texts.corpus import is_fact
from lora_magic.demo.texts.family import Question

WEIGHTS = Path(__file__).parent / "weights"


def validation(count: int) -> list[Question]:
    """The questions of fact that the best weights are chosen by; none of them is in the test."""
    pool = [question for question in split.of("validation") if is_fact(question)]
    return Random(0).sample(pool, count)


class Run:
    """One pretraining run: model, optimizers, position, curve, and the best weights so far."""

    def __init__(self, plan: Plan, work: Path) -> None:
        self.plan, self.work = plan, work
        work.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer()
        self.model = build(plan)
        self.optimizers = optimizers(self.model, plan)
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.step = self.tokens = 0
        self.curve: list[Point] = []
        self.best: dict[str, Tensor] = {}
        self.best_point: Point | None = None
        self.sessions: list[dict[str, Any]] = []
        self._shard: tuple[int, packing.Shard] | None = None
        self._resume()

    def _tokenizer(self) -> Tokenizer:
        path = self.work / "tokenizer.json"
        if not path.exists():
            trained = vocabulary.train_tokenizer(self.plan.seed)
            trained.save(str(path))
        return Tokenizer.from_file(str(path))

    def _resume(self) -> None:
        path = self.work / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        # The number of steps alone may differ: then the fall of the rate ends elsewhere.
        kept = replace(Plan(**state["plan"]), steps=self.plan.steps)
        if kept != self.plan:
            raise SystemExit(f"{path} belongs to {kept}; give --work another folder")
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens = state["step"], state["tokens"]
        self.curve = [Point(**point) for point in state["curve"]]
        self.best = state["best"]
        self.best_point = Point(**state["best_point"]) if state["best_point"] else None
        self.sessions = state["sessions"]

    def keep(self) -> None:
        """Write the whole state under another name, then rename it: never half a checkpoint."""
        state = {
            "plan": asdict(self.plan),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "tokens": self.tokens,
            "curve": [asdict(point) for point in self.curve],
            "best": self.best,
            "best_point": asdict(self.best_point) if self.best_point else None,
            "sessions": self.sessions,
        }
        torch.save(state, self.work / "state.tmp")
        os.replace(self.work / "state.tmp", self.work / "state.pt")

    def begin(self) -> None:
        """Note down with what the run goes on from here."""
        versions = {
            "from_step": self.step,
            "planned_steps": self.plan.steps,
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            # A plain text: torch's own version type cannot be read back from a checkpoint.
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        }
        self.sessions.append(versions)

    def batch(self) -> packing.Batch:
        """The batch of the present step; the order is pinned by the step alone."""
        plan = self.plan
        number, place = divmod(self.step, plan.shard_steps)
        if self._shard is None or self._shard[0] != number:
            rows = plan.rows * plan.shard_steps
            made = packing.shard(self.tokenizer, plan.seed, number, rows, plan.length)
            self._shard = (number, made)
        return self._shard[1].batch(slice(place * plan.rows, (place + 1) * plan.rows))

    def rates(self) -> None:
        """Set the rates of the present step."""
        factor = self.plan.factor(self.step)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def validate(self, loss: float) -> Point:
        """Measure the right-fact score and keep the weights if none were better."""
        self.model.eval()
        answered = measure.answers(self.model, self.tokenizer, validation(self.plan.judged), 48)
        self.model.train()
        score = measure.score(answered)
        point = Point(self.step, self.tokens, loss, score.right, score.ended)
        self.curve.append(point)
        # A draw goes to the later weights: their rate is smaller.
        if self.best_point is None or point.right >= self.best_point.right:
            self.best_point = point
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        return point


def loss_of(model: nn.Module, batch: packing.Batch) -> Tensor:
    """Mean cross-entropy of the next token, bf16 inside, float32 at the end."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(
            input_ids=batch.tokens,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
        ).logits
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), batch.labels[:, 1:].flatten(), ignore_index=-100
    )


def train(run: Run, every: int = 500, stop: int | None = None, *, compiled: bool = True) -> None:
    """Go on to the last step, or to `stop`; validate and keep the state at every `every` steps."""
    loss_function = torch.compile(loss_of) if compiled else loss_of
    begun, begun_tokens, smooth = time.perf_counter(), run.tokens, 0.0
    parameters = list(run.model.parameters())
    while run.step < (stop or run.plan.steps):
        batch = run.batch()
        run.rates()
        loss = loss_function(run.model, batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in run.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        run.step += 1
        run.tokens += int((batch.labels != -100).sum())
        smooth = loss.item() if not smooth else 0.98 * smooth + 0.02 * loss.item()
        if run.step % 100 == 0:
            speed = (run.tokens - begun_tokens) / (time.perf_counter() - begun)
            print(
                f"step {run.step}/{run.plan.steps}  {run.tokens / 1e6:.2f}M tokens  "
                f"loss {smooth:.3f}  {speed:.0f} tokens/s",
                flush=True,
            )
        if run.step % every == 0 or run.step == run.plan.steps:
            point = run.validate(round(smooth, 4))
            run.keep()
            print(f"  right facts {point.right:.0%}  ended {point.ended:.0%}", flush=True)


def write(run: Run, folder: Path, command: str) -> None:
    """Write the best weights in bf16, the tokenizer, the record and the checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    model = build(run.plan)
    model.load_state_dict(run.best)
    model.to(torch.bfloat16).save_pretrained(str(folder))
    vocabulary.save(run.tokenizer, folder)
    record = {
        "command": command,
        "plan": asdict(run.plan),
        "corpus": corpus.fingerprint(run.plan.seed),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": run.step,
        "tokens": run.tokens,
        "chosen": asdict(run.best_point) if run.best_point else None,
        "curve": [asdict(point) for point in run.curve],
        "sessions": run.sessions,
    }
    (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    for path in folder.iterdir():
        # transformers leaves the weights readable to their owner alone.
        path.chmod(0o644)
    write_checksums(folder)


def main(argv: list[str] | None = None) -> None:
    """Train to the end, or go on with it, and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m lora_magic.demo.pretrain", description=__doc__)
    parser.add_argument("--steps", type=int, default=Plan.steps, help="optimizer steps in all")
    parser.add_argument("--stop", type=int, help="pause at this step, without writing weights")
    parser.add_argument("--every", type=int, default=500, help="steps between two checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path(".lora_magic/pretrain"))
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    flags = parser.parse_args(argv)
    torch.set_num_threads(flags.threads)
    run = Run(Plan(steps=flags.steps), flags.work)
    print(f"{sum(p.numel() for p in run.model.parameters()):,} parameters, {run.plan}", flush=True)
    command = f"python -m lora_magic.demo.pretrain --steps {flags.steps}"
    if run.step < flags.steps:
        run.begin()
    train(run, flags.every, flags.stop)
    if run.step == run.plan.steps:
        write(run, flags.out, command)
        print(f"weights written to {flags.out}; chosen: {run.best_point}")


if __name__ == "__main__":
    main()
