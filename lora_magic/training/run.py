"""One training run: from encoded rows to a summary; all else in the model is restored.

Trains the parameters that require a gradient when it is called, and no others. Guards the run: the
base's memory, the model's flags, the process. Knows no adapter, no session and no notebook.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.device import fitting_threads, out_of_memory, release_after
from lora_magic.base.restore import environment, generators, gradients, namespaces, restoring
from lora_magic.errors import TrainingError, listed
from lora_magic.interrupts import Stop

from . import optimizers
from .checkpoint import Keeper
from .diagnosis import Without
from .encode import Encoded
from .hooks import Hooks, NoHooks
from .inside import Recorder
from .loop import Loop
from .peak import Predict
from .progress import Snapshot
from .reporter import Reporter, SilentReporter
from .spec import TrainSpec
from .summary import RunSummary
from .way import Layers
from .world import Alone, World


def run(
    name: str,
    model: nn.Module,
    tokenizer: Any,
    encoded: Encoded,
    spec: TrainSpec,
    *,
    hooks: Hooks | None = None,
    reporter: Reporter | None = None,
    stop: Stop | None = None,
    frozen: Mapping[str, Tensor] | None = None,
    start: Snapshot | None = None,
    keeper: Keeper | None = None,
    without: Without | None = None,
    until: int | None = None,
    layers: Layers | None = None,
    recorder: Recorder | None = None,
    predict: Predict | None = None,
    kept: int = 0,
    world: World | None = None,
) -> RunSummary:
    """Train the parameters of `model` that require a gradient, and restore all else.

    The loss is the mean over all trained tokens of a step (for a classifier, over its examples),
    however many passes the step takes. On the same machine, the same initial state gives the same
    bits. An interrupt (in the main thread) or the reporter's `stop` ends the run after the current
    step; a second one ends it at once, in the middle of a step, which then does not count; without
    a finished step it raises `KeyboardInterrupt`. `stop` has the interrupts if the caller handles
    them. Held-out examples are measured before, during and after the run.

    With `start` the run continues from that snapshot of the same run, and ends with the same bits
    as if it had never stopped. `keeper` is given snapshots between the steps, and one when the run
    is stopped. After `until` steps, counted from the start of the run, it pauses: it is measured,
    its summary's `ended` is "paused", and `keeper` is given the snapshot to go on from. `layers`
    are the adapter's, if they can compute forward and backward in one function each. `recorder`
    reads the adapter between some of the steps; the result has the same bits without it. `predict`
    predicts the memory of the largest pass, which the first line says. The caller has `kept` bytes
    of the adapter's earlier states, which count in the peak.

    With the several workers of a `world` each calls this with the same arguments, and computes its
    share of each step's examples; all end with the same weights, those of one process up to the
    order of sums. Worker 0 reports, reads the adapter, has the interrupts and keeps snapshots; what
    the others are given for it is not used. A stop takes effect after the step and its measurement.

    Raises `CommandError` for LoRA+ without a pair of A and B, and `TrainingError` if no parameter
    requires a gradient, one shares its memory with a tensor in `frozen` (by name), the loss or a
    weight is not finite, `start` is of another run, or the device runs out of memory. After
    an error the weights are those of the last finished step: the caller restores them.
    """
    named = [(path, p) for path, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise TrainingError(
            f"{name}: no parameter requires a gradient; first type: %lora attach {name}"
        )
    groups = optimizers.groups(named, spec)
    refuse_frozen(name, groups, frozen or {})
    pad = pad_id(tokenizer, model if encoded.classes else None)
    reporter = reporter or SilentReporter()
    asked = stop or Stop(getattr(reporter, "stop", None), deferring=True)
    method = hooks or NoHooks()
    work = Loop(
        *(name, model, pad, encoded, spec, reporter, method, asked, start, keeper),
        without=without,
        until=until,
        layers=layers,
        recorder=recorder,
        frozen=tuple((frozen or {}).values()),
        predict=predict,
        kept=kept,
        world=world or Alone(),
    )
    try:
        # Outermost: an interrupt while the rest is restored must not lose a finished run.
        with (
            nullcontext() if stop else asked,
            own_garbage(),
            unchanged(model),
            fitting_threads(model),
        ):
            return work.all(groups)
    except Exception as error:
        if not out_of_memory(error):
            raise
        # A notebook keeps the last error, and its frames would keep the activations.
        release_after(error)
        raise work.no_memory() from None


def refuse_frozen(
    name: str, groups: Sequence[Mapping[str, Any]], frozen: Mapping[str, Tensor]
) -> None:
    """Raise `TrainingError` if the optimizer would write into a frozen tensor's memory."""
    memory = {_memory(tensor): path for path, tensor in frozen.items() if tensor.numel()}
    trained = [parameter for group in groups for parameter in group["params"]]
    found = [memory[_memory(p)] for p in trained if p.numel() and _memory(p) in memory]
    if found:
        raise TrainingError(
            f"{name}: training would change the base ({listed(found)}); a parameter of the "
            f"adapter shares its memory. Type: %lora attach {name} --replace"
        )


def _memory(tensor: Tensor) -> tuple[object, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def unchanged(model: nn.Module) -> AbstractContextManager[None]:
    """Restore everything that the Trainer and accelerate change, except the parameters' values.

    They set flags on every module, add attributes, may replace `forward`, switch the cache off and
    seed every generator.
    """
    around = (gradients(model), generators(), environment("ACCELERATE_"))
    return restoring(*namespaces(model), *around)


@contextmanager
def own_garbage() -> Iterator[None]:
    """Collect the block's reference cycles at its end: a Trainer and its optimizer form one.

    A full collection visits every object of the process, which takes half a second with these
    libraries, and accelerate starts one in each run. So older objects are frozen during the block,
    except on a GPU, where they may occupy memory, or if other code has frozen objects.
    """
    freezing = not torch.cuda.is_available() and gc.get_freeze_count() == 0
    if freezing:
        gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        if freezing:
            gc.unfreeze()


def pad_id(tokenizer: Any, classifier: Any = None) -> int:
    """A classifier's pad token, by which it finds the end of a text; for other models any token
    will do, since it is masked and has no loss."""
    if classifier is not None:
        return int(classifier.config.get_text_config().pad_token_id)
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0
