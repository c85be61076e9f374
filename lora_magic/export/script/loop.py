"""The lines of a script that take a run's steps, as transformers' Trainer takes them.

Plain torch: the same sums in the same order give the same bits. Knows planned runs; of methods it
knows when AdaLoRA and EVA need lines of their own (`adapter`), and it knows no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lora_magic.training.encode import IGNORED
from lora_magic.training.run import pad_id

from .adapter import BUDGET, ORTHOGONALITY, budget, from_rows
from .planned import Planned
from .source import Part

_SHUFFLED = '''
def shuffled(count, total, generator):
    """The first places of shuffled passes over the examples, one after another."""
    places = []
    while len(places) < total:
        places += torch.randperm(count, generator=generator).tolist()
    return places[:total]
'''

_BATCH = '''
def batch(examples):
    """What the model reads of some examples, filled on the right."""
    tokens, labels = ([torch.tensor(row) for row in column] for column in zip(*examples))
    inputs = {
        "input_ids": pad_sequence(tokens, batch_first=True, padding_value={pad}),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in tokens], batch_first=True),
        "labels": {labels},
    }
    return {moved}
'''

_LOSS = '''
@torch.no_grad()
def mean_loss(examples, size):
    """The mean loss over the examples' trained tokens, in nats."""
    model.eval()
    total, count = 0.0, 0
    for at in range(0, len(examples), size):
        inputs = batch(examples[at : at + size])
        trained = int((inputs["labels"] != -100).sum())
        total += float(model(**inputs).loss) * trained
        count += trained
    model.train()
    return total / count
'''

#: Direct preference optimization, arXiv 2305.18290, equation 7.
_PREFERENCE = '''
def differences(pairs):
    """log p(chosen) - log p(rejected) of each pair."""
    inputs = batch([chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs])
    labels = inputs.pop("labels")[:, 1:]
    logits = model(**inputs).logits[:, :-1].float()
    tokens = labels.masked_fill(labels == -100, 0)
    chances = logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    chosen, rejected = chances.masked_fill(labels == -100, 0.0).sum(-1).chunk(2)
    return chosen - rejected


def margins(places):
    """How much likelier each chosen answer has become, compared with the rejected one."""
    before = torch.tensor([reference[at] for at in places]){moved}
    return BETA * (differences([pairs[at] for at in places]) - before)


@torch.no_grad()
def in_parts(function, items, size):
    """A function of all items, some at a time."""
    model.eval()
    found = torch.cat([function(items[at : at + size]) for at in range(0, len(items), size)])
    model.train()
    return found


def preference_loss(places, size):
    """The mean loss over pairs."""
    return float(-logsigmoid(in_parts(margins, places, size)).mean())
'''


def parts(run: Planned) -> Iterator[Part]:
    """The functions of the loop, then the loop."""
    if run.encoded.replay:
        yield Part("Order of the examples", _SHUFFLED.strip())
    yield Part("Batches", _batches(run))
    if run.prefers:
        moved = "" if run.about.device == "cpu" else f'.to("{run.about.device}")'
        yield Part("Preferences", _PREFERENCE.replace("{moved}", moved).strip())
    elif run.examples[1]:
        yield Part("Held-out loss", _LOSS.strip())
    yield Part(run.titled("the steps"), "\n".join(_lines(run)))


def _batches(run: Planned) -> str:
    classifies = run.step.form is None
    pad = pad_id(run.about.tokenizer, run.about.base.model if classifies else None)
    padded = f"pad_sequence(labels, batch_first=True, padding_value={IGNORED})"
    made = _BATCH.replace("{pad}", str(pad))
    made = made.replace("{labels}", "torch.stack(labels)" if classifies else padded)
    moved = f'{{name: value.to("{run.about.device}") for name, value in inputs.items()}}'
    if run.about.device == "cpu":
        return made.replace("inputs = {", "return {").replace("    return {moved}\n", "").strip()
    return made.replace("{moved}", moved).strip()


def _lines(run: Planned) -> Iterator[str]:
    yield from _settings(run)
    yield ""
    yield from _rate(run)
    yield ""
    yield ""
    yield from _optimizer(run)
    yield ""
    yield from _order(run)
    yield from _split(run)
    if run.prefers:
        yield from _reference(run)
    yield from from_rows(run)
    yield from budget(run)
    yield ""
    if run.draws:
        yield "# Dropout draws from here; transformers' Trainer seeds, its data loader draws once."
        yield "torch.manual_seed(SEED)"
        yield "torch.empty((), dtype=torch.int64).random_()"
    if run.settings.checkpointing:
        yield 'again = {"use_reentrant": False}'
        yield "model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=again)"
    yield "model.train()"
    yield from _held_out_before(run)
    yield f"for step in range({'STEPS' if run.taken == len(run.steps) else 'TAKEN'}):"
    for line in _step(run):
        yield f"    {line}" if line else ""
    yield from _after(run)


def _settings(run: Planned) -> Iterator[str]:
    spec = run.settings
    yield f"STEPS = {len(run.steps)}"
    if run.taken < len(run.steps):
        yield f"TAKEN = {run.taken}  # the run ended before its plan did"
    yield f"BATCH = {spec.batch_size}"
    yield f"LEARNING_RATE = {spec.learning_rate!r}"
    yield f"SEED = {spec.seed}"
    if spec.beta is not None:
        yield f"BETA = {spec.beta!r}"
    if run.decides:
        yield f"PATIENCE = {spec.patience}  # measurements without a lower held-out loss"


def _rate(run: Planned) -> Iterator[str]:
    spec = run.settings
    warm = int(spec.warmup * len(run.steps))
    left = f"(STEPS - step) / {f'(STEPS - {warm})' if warm else 'STEPS'}"
    fall = {
        "linear": left,
        "cosine": f"(1 - math.cos(math.pi * ({left}))) / 2",
        "constant": "1.0",
    }[spec.schedule]
    yield ""
    yield "def rate(step):"
    yield f'    """The share of the learning rate at a step: {_described(spec.schedule, warm)}."""'
    if warm:
        yield f"    if step < {warm}:"
        yield f"        return (step + 1) / {warm + 1}"
    yield f"    return {fall}"


def _described(schedule: str, warm: int) -> str:
    after = {"linear": "falls linearly", "cosine": "falls as a cosine", "constant": "is constant"}
    return f"rises over {warm}, then {after[schedule]}" if warm else after[schedule]


def _optimizer(run: Planned) -> Iterator[str]:
    spec = run.settings
    if any(len(names) > 1 for names in run.trained.values()):
        # The gradients' norm is a sum, whose order decides its last bit.
        yield "parameters = list("
        yield "    dict.fromkeys("
        yield "        parameter"
        yield "        for module in model.modules()"
        yield "        for _, parameter in sorted(module.named_parameters(recurse=False))"
        yield "        if parameter.requires_grad"
        yield "    )"
        yield ")"
    else:
        yield "parameters = [p for p in model.parameters() if p.requires_grad]"
    groups = "parameters"
    if spec.lora_plus is not None:
        groups = "groups"
        yield "# LoRA+: the factor that starts at zero learns faster."
        yield 'zero = re.compile("lora_B|lora_embedding_A").search'
        yield "named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]"
        yield "fast = [p for name, p in named if zero(name)]"
        yield "slow = [p for name, p in named if not zero(name)]"
        yield "groups = ["
        yield '    {"params": slow, "lr": LEARNING_RATE},'
        yield f'    {{"params": fast, "lr": LEARNING_RATE * {spec.lora_plus!r}}},'
        yield "]"
    made = {
        "adamw": "torch.optim.AdamW",
        "paged-adamw": "bitsandbytes.optim.PagedAdamW32bit",
        "paged-adamw-8bit": "bitsandbytes.optim.PagedAdamW8bit",
    }[spec.optimizer]
    yield f"optimizer = {made}({groups}, lr=LEARNING_RATE, weight_decay=0.0)"
    yield "schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)"
    if _scaled(run):
        yield 'scaler = torch.amp.GradScaler("cuda")'


def _scaled(run: Planned) -> bool:
    return run.about.dtype == "float16" and run.about.device == "cuda"


def _order(run: Planned) -> Iterator[str]:
    count, replay = len(run.examples[0]), len(run.encoded.replay)
    total = run.settings.seen(count)
    whole = total == len(run.steps) * run.settings.batch_size
    seen = "STEPS * BATCH" if whole else str(total)
    if not replay:
        yield "generator = torch.Generator().manual_seed(SEED)"
        one = "torch.randperm(len(train), generator=generator)"
        if total > count:
            yield f"passes = [{one} for _ in range({math.ceil(total / count)})]"
            one = "torch.cat(passes)"
        yield f"order = {one}[: {seen}].tolist()"
        return
    replayed = run.settings.replayed(count)
    yield f"# {replayed} of the {total} examples that are read are others, evenly spread."
    yield "generator = torch.Generator().manual_seed(SEED)"
    yield f"own = iter(shuffled(len(train), {total - replayed}, generator))"
    yield f"others = iter(shuffled(len(replay), {replayed}, generator))"
    yield "shift = float(torch.rand((), generator=generator))"
    yield f"due = [math.floor(at * {replayed} / {total} + shift) for at in range({total} + 1)]"
    yield "order = ["
    yield "    next(own) if one == other else len(train) + next(others)"
    yield "    for one, other in zip(due, due[1:])"
    yield "]"
    yield "train = train + replay"


def _split(run: Planned) -> Iterator[str]:
    spec = run.settings
    if spec.accumulation == 1:
        return
    yield ""
    yield ""
    yield "def split(items):"
    yield '    """A step in passes of about equal size."""'
    yield f"    count = {spec.accumulation}"
    if run.settings.seen(len(run.examples[0])) % spec.batch_size:
        yield "    if len(items) < BATCH:"
        yield f"        count = math.ceil(len(items) / {spec.pass_size})"
    yield "    cuts = [len(items) * part // count for part in range(count + 1)]"
    yield "    return [items[start:end] for start, end in zip(cuts, cuts[1:])]"
    yield ""


def _reference(run: Planned) -> Iterator[str]:
    yield "pairs = train + held_out" if run.examples[1] else "pairs = train"
    yield f"reference = in_parts(differences, pairs, {run.settings.pass_size}).tolist()"


def _held_out_loss(run: Planned) -> str:
    size = run.settings.pass_size
    if run.prefers:
        return f"preference_loss(range(len(train), len(pairs)), {size})"
    return f"mean_loss(held_out, {size})"


def _held_out_before(run: Planned) -> Iterator[str]:
    if not run.examples[1]:
        return
    yield f'print(f"held-out loss before: {{{_held_out_loss(run)}:.4f}}")'
    if run.decides:
        yield "best, lowest, waited = None, math.inf, 0"


def _step(run: Planned) -> Iterator[str]:
    spec = run.settings
    several = spec.accumulation > 1
    yield "places = order[step * BATCH : (step + 1) * BATCH]"
    if run.prefers:
        yield from _preferring(several)
    else:
        yield from _continuing(run, several)
    if _scaled(run):
        yield "scaler.unscale_(optimizer)"
    yield "torch.nn.utils.clip_grad_norm_(parameters, 1.0)"
    if _scaled(run):
        yield "scaler.step(optimizer)"
        yield "scaler.update()"
    else:
        yield "optimizer.step()"
    yield "schedule.step()"
    if run.spec.method == "adalora":
        yield from BUDGET.strip().splitlines()
    yield "optimizer.zero_grad()"
    found = "total" if several else "loss.item()"
    yield f'print(f"step {{step + 1}} of {{STEPS}}: loss {{{found}:.4f}}")'
    yield from _deciding(run)


def _preferring(several: bool) -> Iterator[str]:
    if not several:
        yield "loss = -logsigmoid(margins(places)).mean()"
        yield "loss.backward()"
        return
    yield "total = 0.0"
    yield "for part in split(places):"
    yield "    loss = -logsigmoid(margins(part)).mean() * (len(part) / len(places))"
    yield "    loss.backward()"
    yield "    total += loss.item()"


def _continuing(run: Planned, several: bool) -> Iterator[str]:
    inner = "    " if several else ""
    counted = 'int((inputs["labels"] != -100).sum())'
    if several:
        yield "passes = [batch([train[at] for at in part]) for part in split(places)]"
        yield f"trained = sum({counted} for inputs in passes)"
        yield "total = 0.0"
        yield "for inputs in passes:"
    else:
        yield "inputs = batch([train[at] for at in places])"
    if run.counts_tokens:
        if not several:
            yield f"trained = {counted}"
        loss = "model(**inputs, num_items_in_batch=trained).loss"
    elif several:
        loss = f"model(**inputs).loss * ({counted} / trained)"
    else:
        loss = "model(**inputs).loss"
    if _scaled(run):
        yield f'{inner}with torch.autocast("cuda", torch.float16):'
        yield f"{inner}    loss = {loss}"
    else:
        yield f"{inner}loss = {loss}"
    if run.spec.method == "adalora":
        share = " / len(passes)" if several else ""
        yield f"{inner}loss = loss + {ORTHOGONALITY}{share}"
    yield f"{inner}{'scaler.scale(loss)' if _scaled(run) else 'loss'}.backward()"
    if several:
        yield f"{inner}total += loss.item()"


def _deciding(run: Planned) -> Iterator[str]:
    if not run.decides:
        return
    final = "step + 1 >= FIXED and " if run.spec.method == "adalora" else ""
    yield f"if step + 1 in {run.evaluations}:"
    yield f"    found = {_held_out_loss(run)}"
    yield '    print(f"held-out loss after step {step + 1}: {found:.4f}")'
    yield f"    if {final}found < lowest:"
    yield "        lowest, waited = found, 0"
    yield "        best = [p.detach().clone() for p in parameters]"
    yield "    elif best is not None:"
    yield "        waited += 1"
    yield "    if waited == PATIENCE:"
    yield "        break"


def _after(run: Planned) -> Iterator[str]:
    yield "model.eval()"
    if run.decides:
        yield "if best is not None:"
        yield "    with torch.no_grad():"
        yield "        for parameter, value in zip(parameters, best):"
        yield "            parameter.copy_(value)"
    elif run.examples[1]:
        yield f'print(f"held-out loss after: {{{_held_out_loss(run)}:.4f}}")'
