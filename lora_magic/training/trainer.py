"""transformers' Trainer, silenced, on steps planned in advance.

The only file that imports it. Knows batches, optimizers and callbacks; knows no rows, no
reporter and no summary.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

import torch
from accelerate.state import (  # type: ignore[import-untyped]  # ships no types
    AcceleratorState,
    GradientState,
    PartialState,
)
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.utils import logging

from lora_magic.base.restore import entries, environment, restoring
from lora_magic.errors import TrainingError, sentence

from . import optimizers
from .batches import Step
from .encode import IGNORED
from .hooks import Hooks
from .spec import TrainSpec

#: Called with the loss of one pass, already scaled to its share of the step's mean over tokens.
OnPass = Callable[[float], None]

#: Called after each optimizer step; true ends the run.
OnStep = Callable[[], bool]

#: A block of a pass, which changes no weight: it may be interrupted.
Abortable = Callable[[], AbstractContextManager[None]]


#: What a tracker is told: the last step's loss, and the held-out loss if it was measured there.
Tracked = Callable[[], dict[str, float]]


def train(
    name: str,
    model: nn.Module,
    groups: list[dict[str, Any]],
    steps: Sequence[Step],
    collate: Callable[[list[int]], dict[str, Tensor]],
    spec: TrainSpec,
    folder: str,
    on_pass: OnPass,
    on_step: OnStep,
    *,
    hooks: Hooks,
    abortable: Abortable,
    tracked: Tracked,
    mean_of_pass: bool = False,
) -> str:
    """Take the steps on groups of parameters with the spec's optimizer.

    No weight decay; the gradient's norm is clipped to 1. `folder` is temporary. With `mean_of_pass`
    the model's loss is a mean over the pass, whatever its signature suggests: transformers'
    classifiers accept the number of a step's items and ignore it. A tracker gets what `tracked`
    returns after each step, and before the first; the run's name there is `name` and the time. The
    caller restores what the Trainer changes on the model. Returns why a tracker got no more, or "".
    Raises `TrainingError` for a tracker that cannot begin.
    """
    optimizer = optimizers.make(groups, spec)
    if getattr(model, "is_quantized", False):
        # The Trainer accepts a quantised model only with PEFT adapters; it does not know ours.
        model._hf_peft_config_loaded = True  # type: ignore[assignment]  # a flag of transformers'
    # The Trainer's own schedule starts at rate 0: a run of one step would change nothing.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, spec.rate)
    with restoring(environment("TENSORBOARD_")):
        arguments = _arguments(name, model, len(steps), spec, folder)
        trainer = _Trainer(
            model=model,
            args=arguments,
            data_collator=lambda items: collate(items[0]),
            train_dataset=[part for step in steps for part in step],
            optimizers=(optimizer, schedule),
            callbacks=[_AfterStep(on_step, hooks)],
        )
    trainer.on_pass, trainer.hooks, trainer.abortable = on_pass, hooks, abortable
    trainer.tracked = tracked
    if spec.report_to == "trackio":
        _without_dashboard(arguments.project)
    if spec.report_to is not None:
        trainer.add_callback(_BeforeFirst(trainer))
    if mean_of_pass:
        trainer.model_accepts_loss_kwargs = False
    # The default is the notebook's table in a kernel; importing that one by name needs IPython.
    for callback in (PrinterCallback, ProgressCallback, DEFAULT_PROGRESS_CALLBACK):
        trainer.remove_callback(callback)
    trackers = [_Tracker(found, spec.report_to) for found in _integrations(trainer)]
    try:
        trainer.train()
    except BaseException:
        if trackers:
            # The Trainer does not end them then, and their threads would stay.
            trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
        raise
    return next((tracker.failure for tracker in trackers if tracker.failure), "")


def _integrations(trainer: Trainer) -> list[Any]:
    """The callbacks that the Trainer made for `report_to`."""
    return [
        callback
        for callback in trainer.callback_handler.callbacks
        if type(callback).__module__.startswith("transformers.integrations")
    ]


class _Tracker:
    """Guards a tracker's callback: an error of it costs the reports, not the run.

    Before the first step it refuses the run, since nothing is lost then.
    """

    def __init__(self, callback: Any, name: str | None) -> None:
        self.failure = ""
        for event in ("on_train_begin", "on_log", "on_train_end"):
            setattr(callback, event, self._guarded(getattr(callback, event), event, name))

    def _guarded(self, call: Callable[..., Any], event: str, name: str | None) -> Any:
        def guarded(*args: Any, **rest: Any) -> None:
            if self.failure:
                return
            try:
                call(*args, **rest)
            except Exception as error:
                self.failure = f"{name}: {sentence(error)}"
                if event == "on_train_begin":
                    raise TrainingError(
                        f"{self.failure}; nothing was trained. Correct it, or omit --report-to."
                    ) from error

        return guarded


def _without_dashboard(project: str) -> None:
    """In a notebook trackio starts a web server with the first run of a project, which would stay;
    on Colab it is public. It does not for a project that it takes for the current one."""
    import trackio  # type: ignore[import-not-found,unused-ignore]  # optional

    trackio.context_vars.current_project.set(project)


def _arguments(
    name: str, model: nn.Module, steps: int, spec: TrainSpec, folder: str
) -> TrainingArguments:
    # Two runs of one name would be one curve in trackio.
    name = f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    if spec.report_to == "tensorboard":
        # Its default is below `folder`, which is removed after the run.
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", os.path.join("runs", name))
    device = next(model.parameters()).device
    half = any(parameter.dtype == torch.float16 for parameter in model.parameters())
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=1,  # The collator turns one item into a whole pass.
        gradient_accumulation_steps=spec.accumulation,
        max_grad_norm=1.0,
        seed=spec.seed,
        use_cpu=device.type == "cpu",
        # float16 needs loss scaling; bfloat16 and float32 have the range.
        fp16=half and device.type == "cuda",
        gradient_checkpointing=spec.checkpointing
        and bool(getattr(model, "supports_gradient_checkpointing", False)),
        gradient_checkpointing_kwargs={"use_reentrant": False},
        logging_strategy="steps" if spec.report_to else "no",
        logging_steps=1,
        run_name=name,
        save_strategy="no",
        eval_strategy="no",
        report_to=[spec.report_to] if spec.report_to else [],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        logging_nan_inf_filter=False,
        log_level="critical",
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # Otherwise the model is replicated over every visible device.
    return arguments


class _AfterStep(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    def __init__(self, on_step: OnStep, hooks: Hooks) -> None:
        self._on_step, self._hooks = on_step, hooks

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        # The Trainer counts the step only after it has cleared the gradients.
        self._hooks.after_update(state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if self._on_step():
            control.should_training_stop = True


class _BeforeFirst(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Reports what was measured before the first step."""

    def __init__(self, trainer: _Trainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if found := self._trainer.tracked():
            self._trainer.log(found)


class _Trainer(Trainer):  # type: ignore[misc]  # transformers has no types here
    on_pass: OnPass
    hooks: Hooks
    abortable: Abortable
    tracked: Tracked

    def _move_model_to_device(self, model: Any, device: Any) -> None:
        """Does nothing: the model is already on its device."""

    def _get_train_sampler(self, *args: Any, **rest: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def get_batch_samples(self, *args: Any, **rest: Any) -> Any:
        parts, count = super().get_batch_samples(*args, **rest)
        self._step_tokens = sum(int(part["labels"].ne(IGNORED).sum()) for part in parts)
        self._step_parts = len(parts)
        return parts, count

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, **rest: Any
    ) -> Any:
        loss = self._task_loss(model, inputs, return_outputs, **rest)
        penalty = self.hooks.penalty()
        if penalty is None:
            self._penalty = 0.0
            return loss
        # The passes of a step are summed, so each adds its share of the penalty.
        share = penalty / self._step_parts
        self._penalty = float(share)
        return loss + (share if self.model_accepts_loss_kwargs else penalty)

    def _task_loss(self, model: Any, inputs: Any, return_outputs: bool, **rest: Any) -> Any:
        if self.model_accepts_loss_kwargs:
            return super().compute_loss(model, inputs, return_outputs, **rest)
        # Such a model returns the mean over this pass, and the Trainer divides by the passes:
        # weighted by tokens, the sum over the passes is the mean over the step's tokens.
        tokens = int(inputs["labels"].ne(IGNORED).sum())
        loss = super().compute_loss(model, inputs, **rest)
        return loss * (tokens * self._step_parts / self._step_tokens)

    def log(self, logs: dict[str, float], *args: Any, **rest: Any) -> None:
        # The Trainer's own loss is in float32 and has the method's penalty in it.
        super().log({**logs, **self.tracked()} if "loss" in logs else logs, *args, **rest)

    def training_step(self, *args: Any, **rest: Any) -> Any:
        with self.abortable():
            loss = super().training_step(*args, **rest)
        self.on_pass(float(loss) - self._penalty)
        return loss


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no logging in the cell; accelerate's global state is restored."""
    verbosity = logging.get_verbosity()
    states = [kind._shared_state for kind in (PartialState, AcceleratorState, GradientState)]
    snapshots = [entries(state) for state in states]
    try:
        with restoring(*snapshots), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.set_verbosity(logging.CRITICAL)
            yield
    finally:
        logging.set_verbosity(verbosity)
