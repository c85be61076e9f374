"""Pretrain the embedded model: `python -m lora_magic.demo.factory.pretrain`.

Stop it with Ctrl-C and start it again: it resumes from its last checkpoint. It uses a GPU if there
is one. `--size larger` trains a model of 30 million parameters, which does not ship. torch compiles
the steps, which needs a C++ compiler (on a GPU, Triton); `--eager` does not. `run` does the
training; this file knows the flags, the progress bar and the files written.
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
from lora_magic.demo.checksums import write_checksums
from lora_magic.demo.factory import command, measure, probe, vocabulary
from lora_magic.demo.factory.plan import SIZES, build
from lora_magic.demo.factory.run import Run, train
from lora_magic.errors import TrainingError

RECORD = "record.json"


def write(run: Run, folder: Path, command_line: str) -> None:
    """Write the best weights in bf16, the tokenizer, the record and its chart, the checksums.

    The record holds the score on the test prompts, which chose nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = build(run.plan)
    model.load_state_dict(run.best)
    model.to(torch.bfloat16).save_pretrained(str(folder))
    vocabulary.save(run.tokenizer, folder)
    answered = measure.answers(model.float().eval(), run.tokenizer, probe.test_questions())
    record = {
        "command": command_line,
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
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    (folder / "record.svg").write_text(_picture(run), "utf-8")
    (folder / "larger.json").write_text(json.dumps(larger(), indent=1) + "\n", "utf-8")
    # transformers writes the weights readable by their owner only.
    (folder / "model.safetensors").chmod(0o644)
    write_checksums(folder)


def larger() -> dict[str, object]:
    """The recipe of the larger model, which needs a GPU and does not ship."""
    plan = SIZES["larger"]
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build(plan).parameters())
    return {
        "command": "python -m lora_magic.demo.factory.pretrain --size larger",
        "plan": asdict(plan),
        "parameters": parameters,
        "tokens_at_most": plan.steps * plan.rows * plan.length,
    }


def _picture(run: Run) -> str:
    from lora_magic.demo.factory.picture import picture

    return picture([(point.tokens, point.loss, point.right) for point in run.curve])


class _Bar:
    """A progress bar with the loss and the last right-fact score."""

    def __init__(self, run: Run) -> None:
        self._bar = tqdm(total=run.plan.steps, initial=run.step, unit="step", mininterval=1.0)

    def __call__(self, run: Run) -> None:
        right = f"{run.curve[-1].right:.1%}" if run.curve else "not measured yet"
        postfix = f"loss {run.smooth:.3f}, right facts {right}, {run.tokens / 1e6:.1f}M tokens"
        self._bar.set_postfix_str(postfix, refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


def flags_of(argv: list[str] | None) -> argparse.Namespace:
    """The parsed flags, with the plan and the folders that follow from them."""
    parser = command.parser("pretrain", __doc__)
    parser.add_argument("--size", choices=SIZES, default="shipped", help="the plan (%(default)s)")
    parser.add_argument(
        "--steps", type=command.positive, help="optimizer steps in total (the plan's)"
    )
    parser.add_argument("--stop", type=command.positive, help="pause at this step (do not pause)")
    parser.add_argument(
        "--every",
        type=command.positive,
        default=500,
        help="steps between checkpoints (%(default)s)",
    )
    parser.add_argument(
        "--threads", type=command.positive, default=2, help="torch threads (%(default)s)"
    )
    parser.add_argument(
        "--work", type=Path, help="folder for checkpoints (.lora_magic/pretrain/SIZE)"
    )
    parser.add_argument(
        "--out",
        type=_out,
        help="folder for the weights (the package for the shipped plan, else WORK/weights)",
    )
    parser.add_argument(
        "--eager", action="store_true", help="do not compile: slower, needs no compiler"
    )
    flags = parser.parse_args(argv)
    flags.plan = SIZES[flags.size]
    if flags.steps:
        flags.plan = replace(flags.plan, steps=flags.steps)
    flags.work = flags.work or Path(".lora_magic/pretrain") / flags.size
    # Only the shipped plan overwrites the shipped weights.
    ships = flags.plan == SIZES["shipped"]
    flags.out = flags.out or (demo.WEIGHTS if ships else flags.work / "weights")
    return flags


def _out(text: str) -> Path:
    """Argparse type: a new or empty folder, or one that `pretrain` wrote."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, but {path} is a file")
    if path.is_dir() and any(path.iterdir()) and not (path / RECORD).is_file():
        raise argparse.ArgumentTypeError(
            f"expected a folder that is empty or that pretrain wrote; {path} has other files"
        )
    return path


def main(argv: list[str] | None = None) -> None:
    """Train, or resume, to the last step and write the weights."""
    flags = flags_of(argv)
    torch.set_num_threads(flags.threads)
    run = Run(flags.plan, flags.work)
    if run.step > run.plan.steps:
        raise SystemExit(
            f"{flags.work} is already at step {run.step}; raise --steps, or choose another folder "
            "with --work"
        )
    print(f"{sum(p.numel() for p in run.model.parameters()):,} parameters, {run.plan}")
    print(f"weights will be written to {flags.out}", flush=True)
    others = {one["planned_steps"] for one in run.sessions} - {run.plan.steps}
    if others and flags.out == demo.WEIGHTS:
        raise TrainingError(
            f"{flags.work} was planned for {others.pop()} steps before; the shipped weights need "
            f"{run.plan.steps} from the start. Choose another folder with --out."
        )
    if run.step < run.plan.steps:
        run.start_session()
    bar = _Bar(run)
    try:
        train(run, flags.every, flags.stop, compiled=not flags.eager, on_step=bar)
    except KeyboardInterrupt:
        raise SystemExit(
            f"stopped at step {run.step}; the same command resumes from the last checkpoint in "
            f"{flags.work}"
        ) from None
    finally:
        bar.close()
    if run.step < run.plan.steps:
        print(f"paused at step {run.step} of {run.plan.steps}; the checkpoint is in {flags.work}")
        return
    write(run, flags.out, command_of(flags))
    print(f"weights written to {flags.out}; best: {run.best_point}")


def command_of(flags: argparse.Namespace) -> str:
    """The command that makes these weights; folders are omitted, they do not matter."""
    words = ["python", "-m", "lora_magic.demo.factory.pretrain"]
    if flags.size != "shipped":
        words += ["--size", flags.size]
    if flags.steps:
        words += ["--steps", str(flags.steps)]
    # Rounding in a matrix product depends on the number of threads and on compilation.
    words += ["--threads", str(flags.threads)]
    return shlex.join([*words, *(["--eager"] if flags.eager else [])])


if __name__ == "__main__":
    command.run(main)
