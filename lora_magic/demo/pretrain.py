"""Pretraining of the embedded base model: `python -m lora_magic.demo.pretrain`.

One command; stopped with Ctrl-C and started again, it goes on from its last checkpoint. On a GPU
it is the same script. `--size larger` makes a model of 30 million parameters, which does not ship.
Steps are compiled by torch, which needs a C++ compiler (on a GPU, Triton); `--eager` does without.
The run itself is in `making.run`; this file knows the flags, the bar, and what is written.
"""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers.utils.logging import tqdm

from lora_magic import demo
from lora_magic.demo import command, measure, probe
from lora_magic.demo.checksums import write_checksums
from lora_magic.demo.making import vocabulary
from lora_magic.demo.making.plan import SIZES, build
from lora_magic.demo.making.run import Run, train
from lora_magic.errors import TrainingError

RECORD = "record.json"


def write(run: Run, folder: Path, typed: str) -> None:
    """Write the best weights in bf16, the tokenizer, the record and its picture, the checksums.

    The record ends with the score on the test prompts, which nothing was chosen by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = build(run.plan)
    model.load_state_dict(run.best)
    model.to(torch.bfloat16).save_pretrained(str(folder))
    vocabulary.save(run.tokenizer, folder)
    answered = measure.answers(model.float().eval(), run.tokenizer, probe.test_questions())
    told = {
        "command": typed,
        "plan": asdict(run.plan),
        "corpus": run.corpus,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": run.step,
        "tokens": run.tokens,
        "minutes": round(run.seconds / 60, 1),
        "chosen": asdict(run.best_point) if run.best_point else None,
        "test": {name: round(x, 4) for name, x in asdict(measure.score(answered)).items()},
        "curve": [asdict(point) for point in run.curve],
        "sessions": run.sessions,
    }
    (folder / RECORD).write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    (folder / "record.svg").write_text(_picture(run), "utf-8")
    (folder / "larger.json").write_text(json.dumps(larger(), indent=1) + "\n", "utf-8")
    # transformers leaves the weights readable to their owner alone.
    (folder / "model.safetensors").chmod(0o644)
    write_checksums(folder)


def larger() -> dict[str, object]:
    """The recipe of the model that does not ship, for whoever has a GPU."""
    plan = SIZES["larger"]
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build(plan).parameters())
    return {
        "command": "python -m lora_magic.demo.pretrain --size larger",
        "plan": asdict(plan),
        "parameters": parameters,
        "tokens_at_most": plan.steps * plan.rows * plan.length,
    }


def _picture(run: Run) -> str:
    from lora_magic.views.record import picture

    return picture([(point.tokens, point.loss, point.right) for point in run.curve])


class _Bar:
    """A progress bar with the loss and the last right-fact score."""

    def __init__(self, run: Run) -> None:
        self._bar = tqdm(total=run.plan.steps, initial=run.step, unit="step", mininterval=1.0)

    def __call__(self, run: Run) -> None:
        right = f"{run.curve[-1].right:.1%}" if run.curve else "not yet measured"
        told = f"loss {run.smooth:.3f}, right facts {right}, {run.tokens / 1e6:.1f}M tokens"
        self._bar.set_postfix_str(told, refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


def flags_of(argv: list[str] | None) -> argparse.Namespace:
    """The command line, with the plan that it asks for and the folders that go with it."""
    parser = command.parser("pretrain", __doc__)
    parser.add_argument("--size", choices=SIZES, default="shipped")
    parser.add_argument("--steps", type=command.positive, help="optimizer steps in all")
    parser.add_argument("--stop", type=command.positive, help="pause at this step")
    parser.add_argument("--every", type=command.positive, default=500, help="steps a checkpoint")
    parser.add_argument("--threads", type=command.positive, default=2)
    parser.add_argument("--work", type=Path, help="where checkpoints lie")
    parser.add_argument("--out", type=_out, help="where the weights go")
    parser.add_argument("--eager", action="store_true", help="do not compile: slower, no compiler")
    flags = parser.parse_args(argv)
    flags.plan = SIZES[flags.size]
    if flags.steps:
        flags.plan = replace(flags.plan, steps=flags.steps)
    flags.work = flags.work or Path(".lora_magic/pretrain") / flags.size
    # Only the very run that ships writes over what ships.
    ships = flags.plan == SIZES["shipped"]
    flags.out = flags.out or (demo.WEIGHTS if ships else flags.work / "weights")
    return flags


def _out(text: str) -> Path:
    """A folder for weights: a new one, an empty one, or one that holds weights of a run."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a file; expected a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / RECORD).is_file():
        raise argparse.ArgumentTypeError(f"{path} holds other files; expected a folder of its own")
    return path


def main(argv: list[str] | None = None) -> None:
    """Train to the end, or go on with it, and write the weights."""
    flags = flags_of(argv)
    torch.set_num_threads(flags.threads)
    run = Run(flags.plan, flags.work)
    if run.step > run.plan.steps:
        raise SystemExit(
            f"{flags.work} is at step {run.step} already; give --steps more, or --work another "
            "folder"
        )
    print(f"{sum(p.numel() for p in run.model.parameters()):,} parameters, {run.plan}")
    print(f"the weights go to {flags.out}", flush=True)
    others = {one["planned_steps"] for one in run.sessions} - {run.plan.steps}
    if others and flags.out == demo.WEIGHTS:
        raise TrainingError(
            f"{flags.work} was planned for {others.pop()} steps before, expected "
            f"{run.plan.steps} throughout for the weights that ship; give --out a folder."
        )
    if run.step < run.plan.steps:
        run.begin()
    bar = _Bar(run)
    try:
        train(run, flags.every, flags.stop, compiled=not flags.eager, shown=bar)
    except KeyboardInterrupt:
        raise SystemExit(
            f"stopped at step {run.step}; the same command goes on from the last checkpoint in "
            f"{flags.work}"
        ) from None
    finally:
        bar.close()
    if run.step < run.plan.steps:
        print(f"paused at step {run.step} of {run.plan.steps}; the state is in {flags.work}")
        return
    write(run, flags.out, command_of(flags))
    print(f"weights written to {flags.out}; chosen: {run.best_point}")


def command_of(flags: argparse.Namespace) -> str:
    """The command that makes these weights: what decides them, and no folder."""
    typed = ["python", "-m", "lora_magic.demo.pretrain"]
    if flags.size != "shipped":
        typed += ["--size", flags.size]
    if flags.steps:
        typed += ["--steps", str(flags.steps)]
    # The sums of a matrix product depend on how many threads share it, and on how it is compiled.
    typed += ["--threads", str(flags.threads)]
    return shlex.join([*typed, *(["--eager"] if flags.eager else [])])


if __name__ == "__main__":
    command.run(main)
