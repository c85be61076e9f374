"""transformers' Trainer, silenced, on steps planned in advance.

The only file that imports it. Knows batches, optimizers and callbacks; knows no rows, no
reporter and no summary.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
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
    set_seed,
)
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.utils import logging

from lora_magic.base.restore import Generators, entries, environment, restoring

from . import checkpoint, optimizers, trackers
from .batches import IDLE, Step
from .encode import IGNORED
from .hooks import Hooks
from .peak import StepPeak
from .preference import Preference
from .progress import Snapshot, own
from .spec import TrainSpec
from .trackers import Tracked
from .way import Way
from .world import World

#: Called with the loss of one pass, already scaled to its share of the step's mean over tokens.
OnPass = Callable[[float], None]

#: Called when a step's gradients are complete and not clipped yet, with the scale of the loss.
OnGradients = Callable[[float], None]

#: Called before each optimizer step, after the gradients are clipped.
BeforeUpdate = Callable[[], None]

#: Called after each optimizer step; true ends the run.
OnStep = Callable[[], bool]

#: How names of the environment begin by which a launcher tells a process that it is one of several.
_OF_SEVERAL = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "ACCELERATE_"),
    *("PMI_", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_"),
)

#: A block of a pass, which changes no weight: it may be interrupted.
Abortable = Callable[[], AbstractContextManager[None]]


@dataclass(eq=False)
class Parts:
    """The optimizer, its schedule, and in float16 on a GPU the loss's scale: what a run owns."""

    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    #: What a new Trainer's scaler starts with; {} for its default.
    scale: dict[str, Any] = field(default_factory=dict)
    scaler: Any = None

    @classmethod
    def of(cls, groups: list[dict[str, Any]], spec: TrainSpec) -> Parts:
        """New ones for groups of parameters."""
        optimizer = optimizers.make(groups, spec)
        # The Trainer's own schedule starts at rate 0: a run of one step would change nothing.
        return cls(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, spec.rate))

    def state(self) -> dict[str, dict[str, Any]]:
        """Copies of their states, by name."""
        found = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scale if self.scaler is None else self.scaler.state_dict(),
        }
        return {name: own(state) for name, state in found.items()}

    def load(
        self, optimizer: dict[str, Any], schedule: dict[str, Any], scaler: dict[str, Any]
    ) -> None:
        """Set their states, which the objects do not share."""
        self.optimizer.load_state_dict(own(optimizer))
        self.schedule.load_state_dict(own(schedule))
        self.scale = own(scaler)

    def check(self, start: Snapshot) -> None:
        """Raise `ValueError` for a snapshot whose states are not those of such a run.

        A step with gradients of zero gives the states that it must have; the weights are set later.
        """
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        taken = start.schedule.get("last_epoch")
        if type(taken) is not int or not 0 <= taken <= start.progress.steps:
            raise ValueError(f"schedule: {taken!r} steps of {start.progress.steps}")
        schedule, optimizer = self.schedule.state_dict(), self.optimizer.state_dict()
        rates = [
            rate * factor(taken)
            for rate, factor in zip(self.schedule.base_lrs, self.schedule.lr_lambdas, strict=True)
        ]
        schedule |= {"last_epoch": taken, "_step_count": taken + 1, "_last_lr": rates}
        pairs = zip(optimizer["param_groups"], rates, strict=True)
        groups = [{**group, "lr": rate} for group, rate in pairs]
        checkpoint.same(schedule, start.schedule, "schedule")
        checkpoint.same(groups, start.optimizer.get("param_groups"), "optimizer")
        expected, found = optimizer["state"], start.optimizer.get("state")
        if not isinstance(found, dict) or not found.keys() <= expected.keys():
            raise ValueError("optimizer: other parameters")
        for number, values in found.items():
            checkpoint.similar(expected[number], values, f"optimizer {number}")
        if start.scaler:
            checkpoint.similar(torch.amp.GradScaler("cpu").state_dict(), start.scaler, "scaler")


def train(
    name: str,
    model: nn.Module,
    parts: Parts,
    steps: Sequence[Step],
    collate: Callable[[Step], Sequence[dict[str, Tensor]]],
    way: Way,
    spec: TrainSpec,
    folder: str,
    on_pass: OnPass,
    on_gradients: OnGradients,
    before_update: BeforeUpdate,
    on_step: OnStep,
    *,
    peak: StepPeak,
    hooks: Hooks,
    abortable: Abortable,
    tracked: Tracked,
    done: int = 0,
    generators: Generators | None = None,
    mean_of_pass: bool = False,
    preference: Preference | None = None,
    world: World,
    items: Callable[[Step], int],
) -> str:
    """Take the steps with an optimizer, after `done` others, from the generators' states.

    No weight decay; the gradient's norm is clipped to 1. `collate` makes a step's passes, which are
    computed in that `way`, and `peak` measures. `folder` is temporary. With `mean_of_pass`
    the model's loss is a mean over the pass, whatever its signature suggests: transformers'
    classifiers accept the number of a step's items and ignore it. A tracker gets what `tracked`
    returns after each step, and before the first. With several workers the passes are those of
    this one, `items` counts the tokens, labels or pairs of a step on all of them, and the caller
    adds up losses and gradients. The caller restores what the Trainer changes on the model.
    Returns why a tracker got no more, or "".

    Raises `TrainingError` for a tracker that cannot begin.
    """
    if getattr(model, "is_quantized", False):
        # The Trainer accepts a quantised model only with PEFT adapters; it does not know ours.
        model._hf_peft_config_loaded = True  # type: ignore[assignment]  # a flag of transformers'
    with restoring(environment("TENSORBOARD_")):
        arguments = _arguments(name, model, len(steps), spec, folder)
        trainer = _Trainer(
            model=model,
            args=arguments,
            data_collator=lambda one: {"passes": collate(one[0]), "items": items(one[0])},
            train_dataset=list(steps),
            optimizers=(parts.optimizer, parts.schedule),
            callbacks=[_AroundStep(before_update, on_step, peak, hooks, done)],
        )
    trainer.on_pass, trainer.hooks, trainer.abortable = on_pass, hooks, abortable
    trainer.way, trainer.on_gradients, trainer.peak = way, on_gradients, peak
    trainer.generators, trainer.tracked, trainer.done = generators, tracked, done
    if spec.report_to == "trackio":
        trackers.without_dashboard(arguments.project)
    if spec.report_to is not None:
        trainer.add_callback(trackers.BeforeFirst(trainer, tracked))
    parts.scaler = getattr(trainer.accelerator, "scaler", None)
    if parts.scaler is not None and parts.scale:
        parts.scaler.load_state_dict(parts.scale)
    trainer.preference, trainer.world = preference, world
    if mean_of_pass or preference is not None:
        trainer.model_accepts_loss_kwargs = False
    # The default is the notebook's table in a kernel; importing that one by name needs IPython.
    for callback in (PrinterCallback, ProgressCallback, DEFAULT_PROGRESS_CALLBACK):
        trainer.remove_callback(callback)
    guards = trackers.guards(trainer, spec.report_to)
    _without_walks(model, parts.optimizer)
    try:
        trainer.train()
    except BaseException:
        if guards:
            # The Trainer does not end them then, and their threads would stay.
            trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
        raise
    return next((guard.failure for guard in guards if guard.failure), "")


def _without_walks(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Let the model's `train` and `zero_grad` do only what is left to do.

    The Trainer calls them in every step, and each visits all modules. The run restores the model's
    attributes.
    """
    model.train()

    def train(mode: bool = True) -> nn.Module:
        return model if mode and model.training else type(model).train(model, mode)

    def zero_grad(set_to_none: bool = True) -> None:
        optimizer.zero_grad(set_to_none)

    vars(model).update(train=train, zero_grad=zero_grad)


def _arguments(
    name: str, model: nn.Module, steps: int, spec: TrainSpec, folder: str
) -> TrainingArguments:
    name = trackers.run_name(name)
    if spec.report_to == "tensorboard":
        # Its default is below `folder`, which is removed after the run.
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", os.path.join("runs", name))
    device = next(model.parameters()).device
    half = any(parameter.dtype == torch.float16 for parameter in model.parameters())
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=1,  # The collator turns one item into all passes of a step.
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


class _AroundStep(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    def __init__(
        self,
        before_update: BeforeUpdate,
        on_step: OnStep,
        peak: StepPeak,
        hooks: Hooks,
        done: int,
    ) -> None:
        self._before_update, self._on_step, self._peak = before_update, on_step, peak
        self._hooks, self._done = hooks, done

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._before_update()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._peak.end()
        # The Trainer counts the step only after it has cleared the gradients.
        self._hooks.after_update(self._done + state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if self._on_step():
            control.should_training_stop = True


class _Trainer(Trainer):  # type: ignore[misc]  # transformers has no types here
    on_pass: OnPass
    on_gradients: OnGradients
    way: Way
    peak: StepPeak
    hooks: Hooks
    abortable: Abortable
    generators: Generators | None
    preference: Preference | None
    tracked: Tracked
    done: int
    world: World

    def log(self, logs: dict[str, float], *args: Any, **rest: Any) -> None:
        # The Trainer's own loss is in float32 and has the method's penalty in it; it counts the
        # steps of a resumed run from 0.
        own, state = {**logs, **self.tracked()} if "loss" in logs else logs, self.state
        state.global_step += self.done
        try:
            super().log(own, *args, **rest)
        finally:
            state.global_step -= self.done

    def _items(self, inputs: Any) -> int:
        """What the loss is a mean over: tokens, a classifier's examples, or pairs."""
        if self.preference is not None:
            return self.preference.items(inputs)
        return int(inputs["labels"].ne(IGNORED).sum())

    def _move_model_to_device(self, model: Any, device: Any) -> None:
        """Does nothing: the model is already on its device."""

    def _get_train_sampler(self, *args: Any, **rest: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def floating_point_ops(self, inputs: Any) -> int:
        # It is not used, and the Trainer's own wants the inputs of a single pass.
        return 0

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, **rest: Any
    ) -> Any:
        idle = inputs.pop(IDLE, None)
        loss = self._task_loss(model, inputs, return_outputs, **rest)
        if idle is not None:
            loss = 0 * loss
        # It is the same on all workers, and counts once.
        penalty = self.hooks.penalty() if self.world.rank == 0 else None
        if penalty is None:
            self._penalty = 0.0
            return loss
        # The passes of a step are summed, so each adds its share of the penalty.
        share = penalty / self._step_parts
        self._penalty = float(share)
        return loss + share

    def _task_loss(self, model: Any, inputs: Any, return_outputs: bool, **rest: Any) -> Any:
        """The pass's share of the mean over the step's items."""
        if self.way.own_loss:
            return self.way.total(inputs) / self._step_items
        if self.model_accepts_loss_kwargs:
            # Such a model divides by that number itself.
            rest["num_items_in_batch"] = self._step_items
            return super().compute_loss(model, inputs, return_outputs, **rest)
        if self.preference is None:
            loss = super().compute_loss(model, inputs, **rest)
        else:
            loss = self.preference.loss(model, inputs)
        return loss * (self._items(inputs) / self._step_items)

    def training_step(self, model: Any, inputs: Any, *args: Any, **rest: Any) -> Any:
        if self.generators is not None:
            # Here, since the Trainer seeds them, and its data loader draws from them.
            self.generators.restore()
            self.generators = None
        if self.world.size > 1:
            self._seed()
        passes, self._step_items = inputs["passes"], inputs["items"]
        self._step_parts = len(passes)
        total: Any = 0.0
        self.peak.begin(passes, first=not self.done + self.state.global_step)
        for inputs_of_pass in passes:
            # The backward pass belongs into the block: checkpointing computes the forward anew.
            with self.abortable(), self.way.using(inputs_of_pass):
                loss = super().training_step(model, inputs_of_pass, *args, **rest)
            self.on_pass(float(loss) - self._penalty)
            total = total + loss
        scaler = getattr(self.accelerator, "scaler", None)
        if not passes:
            total = torch.zeros((), device=self.args.device)
            if scaler is not None:
                scaler.scale(total)  # It is set up by its first use.
        self.on_gradients(1.0 if scaler is None else scaler.get_scale())
        return total

    def _seed(self) -> None:
        """Let the workers drop different activations, and a resumed run the same ones."""
        key = f"{self.args.seed} {self.done + self.state.global_step} {self.world.rank}"
        set_seed(random.Random(key).getrandbits(32))


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no logging in the cell; accelerate's global state is restored.

    In the block nothing tells accelerate that this process is one of several: it would wrap the
    model, split the steps and join a process group.
    """
    verbosity = logging.get_verbosity()
    states = [kind._shared_state for kind in (PartialState, AcceleratorState, GradientState)]
    snapshots = [entries(state) for state in states] + [environment(one) for one in _OF_SEVERAL]
    try:
        with restoring(*snapshots), warnings.catch_warnings():
            for name in [name for name in os.environ if name.startswith(_OF_SEVERAL)]:
                del os.environ[name]
            warnings.simplefilter("ignore")
            logging.set_verbosity(logging.CRITICAL)
            yield
    finally:
        logging.set_verbosity(verbosity)
