"""Every display, made from records with any text in every place that takes text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lora_magic.adapters.combine.changes import ModuleLoss
from lora_magic.adapters.combine.compress import Compression
from lora_magic.adapters.combine.intruders import ModuleRemoval
from lora_magic.adapters.formula import ModuleCount
from lora_magic.adapters.merge import MergeReport, ModuleMerge
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.fingerprint import Verification
from lora_magic.compare.ask import Answer
from lora_magic.compare.bulk import Answers, LabelRow, TextRow
from lora_magic.compare.comparison import Comparison, Pane
from lora_magic.compare.lens import Lens, LensLayer, LensToken
from lora_magic.compare.prediction import Classification, Prediction
from lora_magic.compare.scores import ScoredAnswer, Scores
from lora_magic.cost.count import ParameterCount
from lora_magic.cost.memory import Memory
from lora_magic.cost.plan import CostPlan, Row, TypeCount, Way
from lora_magic.cost.setting import Setting
from lora_magic.evaluation.board import Board, BoardRow, Curve
from lora_magic.evaluation.evaluation import EvaluatedRow, Evaluation
from lora_magic.evaluation.ranks import RankEvidence, RankLoss
from lora_magic.evaluation.votes import Vote, Votes
from lora_magic.export.receipt import Check, Export, PromptCheck
from lora_magic.export.script.script import Script
from lora_magic.lowrank.similarity import Amplified, Intruding, Overlap, Similarity
from lora_magic.lowrank.spectrum import (
    ModuleIntruders,
    ModuleWeight,
    Spectrum,
    SpectrumRow,
)
from lora_magic.lowrank.subspace import Amplification
from lora_magic.state.doctor import NOTE, OK, PROBLEM, Examination, Finding
from lora_magic.state.history import Difference, History
from lora_magic.state.ledger import Entry
from lora_magic.state.removing import LossChange, Removal
from lora_magic.state.status import Status
from lora_magic.state.sweep_result import Sweep, SweepArm
from lora_magic.training.forgetting import Answered, AnswerForgetting
from lora_magic.training.inside import ALL as TOGETHER
from lora_magic.training.inside import Inside, Reading
from lora_magic.training.oddities import Lengths, Oddity
from lora_magic.training.preview import Preview, PreviewRow
from lora_magic.training.sample import ReadToken
from lora_magic.training.summary import RunSummary
from lora_magic.views import receipt, serve, status, training
from lora_magic.views.votes import ballot_html

Bundle = dict[str, object]
Series = list[tuple[str, str, list[float]]]


def modules(layers: int, kinds: tuple[str, ...], rank: int = 8, adapter: str = "pirate") -> Series:
    """Spectra that decay, differently in each layer."""
    return [
        (
            adapter,
            f"model.layers.{layer}.{kind}",
            [(1 + layer / 10) * math.exp(-i * (0.2 + place / 20)) for i in range(rank)],
        )
        for layer in range(layers)
        for place, kind in enumerate(kinds)
    ]


def spectrum(series: Series) -> Spectrum:
    return Spectrum(
        tuple(
            SpectrumRow(adapter, path, index, sigma)
            for adapter, path, sigmas in series
            for index, sigma in enumerate(sigmas, start=1)
        )
    )


def overlap(
    first: str, second: str, module: str, ranks: tuple[int, int] = (2, 3), **more: Any
) -> Overlap:
    """φ(i, j) = (i + j)/20 in 100 dimensions, at an angle of 60°; with rank 0: ΔW = 0."""
    zero = not all(ranks)
    usual: dict[str, Any] = {
        "shape": (50, 100),
        "dim": 100,
        "counts": ranks,
        "phi": tuple(
            tuple((i + j) / 20 for j in range(1, ranks[1] + 1)) for i in range(1, ranks[0] + 1)
        ),
        "cosine": None if zero else 0.5,
        "changes": tuple(float(rank > 0) for rank in ranks),
        "weight": 8.0,
    }
    if zero:
        usual["phi"] = ()
    return Overlap(first, second, module, **{**usual, **more})


def amplified(adapter: str, module: str, rank: int = 4) -> Amplified:
    """A row of table 7; with rank 0: ΔW = 0."""
    found = Amplification(rank, 0.5, 21.5, 0.25, 2.5, 62.0) if rank else None
    return Amplified(adapter, module, found)


def similarity(
    *adapters: str, modules: tuple[str, ...] = ("0.q", "1.q"), **more: Any
) -> Similarity:
    """These adapters on these modules."""
    overlaps = [
        overlap(first, second, module)
        for at, first in enumerate(adapters)
        for second in adapters[at + 1 :]
        for module in modules
    ]
    usual: dict[str, Any] = {
        "overlaps": tuple(overlaps),
        "amplified": tuple(amplified(name, module) for name in adapters for module in modules),
    }
    if len(adapters) == 1:
        usual["intruding"] = tuple(
            Intruding(adapters[0], module, (0.9, 0.25, 0.75), (1,)) for module in modules
        )
    return Similarity(adapters, "inputs", **{**usual, **more})


def removal(adapter: str = "pirate", new: str = "less", **more: Any) -> Removal:
    """Two of three intruders gone, at a little more loss."""
    modules = (
        ModuleRemoval(f"{adapter}.q", 3, 1, 0.25, 2.0, 0.125),
        ModuleRemoval(f"{adapter}.v", 0, 0, None, 0.0, 0.0),
    )
    usual: dict[str, Any] = {
        "modules": modules,
        "parameters": 1024,
        "loss": LossChange(3.25, 1.125, 1.25, 0.0625, 0.1875, 12),
        "forgotten": (AnswerForgetting(24, 20, 12, 24, 22), AnswerForgetting(24, 22, 18, 24, 22)),
    }
    return Removal(adapter, new, **{**usual, **more})


def _one_module(text: str) -> Spectrum:
    """Two adapters on one module beside W, with an intruder; one name everywhere."""
    found = spectrum([(text, text, [1.0, 0.5]), ("other", text, [2.0, 0.1])])
    intruders = (ModuleIntruders(text, text, ((2, 4.0, 0.3),)),)
    weights = (ModuleWeight(text, 12.0, 3, (9.0, 3.0, 1.0)),)
    return replace(found, weights=weights, intruders=intruders, merged=text)


def _with_intruders(text: str) -> Spectrum:
    found = spectrum(modules(12, ("q_proj", text), adapter=text))
    examined = [ModuleIntruders(text, path, ((1, 1.0, 0.2),)) for path in found.modules[::3]]
    return replace(found, intruders=tuple(examined), measure="intruders")


def pane(adapter: str, text: str, **more: Any) -> Pane:
    usual: dict[str, Any] = {"prompt": "Pie?", "tokens": 12, "ended": True, "seconds": 0.82}
    usual |= {"batched": True, "first_logit_change": 0.0 if adapter == "base" else 3.25}
    return Pane(adapter=adapter, text=text, **{**usual, **more})


def labelled(adapter: str, shares: dict[str, float], note: str = "", text: str = "Good?") -> Any:
    return Prediction(text, adapter, tuple(shares), tuple(shares.values()), note)


def count(adapter: str = "pirate", **more: Any) -> ParameterCount:
    """A LoRA of rank 8 on four layers of q and v, in a base of about a million parameters."""
    module = ModuleCount("layers.0.q_proj", 128, 128, 8, 2048, 2048)
    usual: dict[str, Any] = {
        "spec": AdapterSpec(8, 16.0, 0.0, "q_proj,v_proj", 0),
        "base_parameters": 1071616,
    }
    return ParameterCount(adapter=adapter, **{**usual, "modules": (module,) * 8, **more})


def run(adapter: str = "calm", losses: tuple[float, ...] = (3.0, 2.0), **more: Any) -> Any:
    """What a view reads of a `RunSummary`."""
    usual: dict[str, Any] = dict.fromkeys(RunSummary.__dataclass_fields__, 0)
    usual |= {"adapter": adapter, "losses": losses, "steps": len(losses), "seconds": 7.9}
    usual |= {
        "held_out_before": None,
        "held_out_after": None,
        "end_token": None,
        "method_facts": (),
    }
    usual |= {"accuracy_before": None, "accuracy_after": None, "forgetting": None, "guard": None}
    usual |= {"held_out_losses": (), "notes": (), "beta": None, "preferred": None}
    usual |= {"ended": "steps", "best_step": None, "inside": None}
    return RunSummary(**{**usual, **more})


def inside(*paths: str, readings: int = 5, rank: int = 3, every: int = 10) -> Inside:
    """Readings of modules whose σ grow, from ΔW = 0, of an adapter with one module more."""
    found = []
    for at in range(readings):
        both = {"A": 0.1 * at, "B": 1.0 / (1 + at)} if at < readings - 1 else {}
        found.append(Reading(every * at, TOGETHER, both, 0))
        for place, path in enumerate(paths):
            sigma = tuple(at * (1 + place) / (1 + index) for index in range(rank))
            grown = math.hypot(*sigma), 1.5 if at else None
            found.append(Reading(every * at, path, both, None, *grown, sigma))
    return Inside(tuple(found), len(paths) + 1, 41)


def forgotten(text: str, count: int = 2) -> AnswerForgetting:
    """Answers of which the base's are right and the adapter's wrong."""
    return AnswerForgetting.of([Answered(text, text, text, True, False, True, False)] * count)


def merged(adapter: str, **more: Any) -> MergeReport:
    usual: dict[str, Any] = {"dtype": "fp32", "logit_difference": 1e-6, "seconds": 0.1}
    return MergeReport(
        adapter, **{**usual, "modules": (ModuleMerge(adapter, 0.04, 0.1, 8),), **more}
    )


def _export(text: str) -> Bundle:
    reasons = ("", text, "rounding")
    checks = tuple(PromptCheck(text, 3, not why, 0.5, None, why) for why in reasons)
    check = Check(text, "logits", checks, 1e-6, 1e-4, (text,))
    files, commands = ((text, 3),), ((text, text), ("serve it", f"serve {text} " * 9))
    return shown(Export(text, text, Path(text), files, check, (text,), commands))


def entry(adapter: str, session: str = "3f2a9c1b") -> Entry:
    """A run in the ledger."""
    return Entry(
        session,
        1,
        "2026-11-29T06:44:58.000+00:00",
        "train",
        adapter,
        result=f"{adapter}: 60 steps",
        seconds=7.9,
        data={"sha256": "8aa72e64" * 8, "rows": 10},
    )


def shown(record: Any) -> Bundle:
    made: Bundle = record._repr_mimebundle_()
    return made


def _comparison(text: str) -> Bundle:
    panes = (pane("base", "one", prompt=text), pane(text, f"two {text}", prompt=text, note=text))
    return shown(Comparison(panes))


def scored(name: str = "pirate", of: str = "pirate", prompt: str = "Pie?") -> ScoredAnswer:
    """Three tokens, of which one is more and one less likely than under the base."""
    under = {"base": (-3.0, -0.5, -0.25), name: (-0.5, -0.5, -4.5)}
    tokens = (name, f" {name}", "\n")
    return ScoredAnswer(prompt, of, tokens, True, tuple(under), tuple(under.values()))


def _lens(text: str) -> Bundle:
    """Nine layers, of which six are shown; the last does not move."""
    tokens = [LensToken("answers", text, text, 0.2 / rank, rank) for rank in range(1, 21)]
    for layer in range(8):
        tokens += [
            LensToken(reading, text, text, 9.0 - rank, rank, layer)
            for reading in ("states", "random")
            for rank in range(1, 21)
        ]
    layers = (*(LensLayer(layer, 0.1) for layer in range(8)), LensLayer(8, 0.0))
    return shown(Lens(text, tuple(tokens), layers, 100, 75, 1800, seconds=2.5, stopped=True))


def _scores(text: str) -> Bundle:
    return shown(Scores((scored(text, text, text),), stopped=True))


def _scored_comparison(text: str) -> Bundle:
    panes = (pane("base", "one", prompt=text), pane(text, f"two {text}", prompt=text))
    scores = Scores((scored(text, text, text), scored(text, "base", text)))
    return shown(Comparison(panes, scores=scores, notes=(text,)))


def _classification(text: str) -> Bundle:
    columns = (
        labelled("base", {text: 0.25, "other": 0.75}, text=text),
        labelled(text, {text: 1.0, "other": 0.0}, text, text=text),
    )
    return shown(Classification(columns))


def _progress(text: str) -> Bundle:
    page = training.progress_html(
        title=text,
        line=text,
        losses=[3.0, 2.0, 1.5],
        step=3,
        total=60,
        seconds_left=7.4,
        tokens_per_second=1312.0,
        memory=512_000_000,
        held_out=[(0, 3.5), (2, 1.8)],
        inside=inside(f"layers.0.{text}"),
    )
    return {"text/html": page, "text/plain": ""}


def _compression(text: str) -> Bundle:
    rows = ModuleLoss(text, 8, 4, 0.5, 0.12), ModuleLoss(f"{text} 2", 0, 0, 0.25, 1.0)
    return shown(Compression(text, text, rows))


def _evidence(text: str) -> Bundle:
    rows = (ModuleLoss(text, 2, 2, 0.5, 0.0, (0.4, 0.3)),) * 30
    return shown(Compression(text, None, rows))


def rank_evidence(text: str, ranks: int = 2, **more: Any) -> RankEvidence:
    """An adapter whose rank 2 is enough, of all its ranks."""
    row = ModuleLoss(text, ranks, ranks, 1.0, 0.0, tuple(2.0**-at for at in range(ranks)), 256)
    losses = tuple(
        RankLoss(rank, 256 * rank, 0.5**rank, 1 + excess, excess, excess - 0.001, excess + 0.002)
        for rank in range(1, ranks + 1)
        for excess in [0.0 if rank == ranks else 0.3 / 8 ** (rank - 1) - 0.03 * (rank > 1)]
    )
    usual: dict[str, Any] = {"rows": 40, "different": 40, "seconds": 2.0, "notes": (text,)}
    usual |= {"retrain": (f"%lora attach {text} --rank 2",), "shared": {text: 2}}
    usual |= {"budget": RankLoss(2, 512, 0.1, 1.001, 0.001, 0.0, 0.002, 1.0)}
    report = Compression(text, None, (row,))
    return RankEvidence(text, 2.0, 1.0, 0.9, losses, report, **{**usual, **more})


def state(base_line: str | None = "b", machine: str = "CPU", **more: Any) -> Bundle:
    """What the view makes of a `Status` with this to read."""
    usual: dict[str, Any] = {
        "rows": (),
        "merged": None,
        "next_commands": (),
        "found": (),
        "kept": (),
        "resumable": (),
        "serving": "",
    }
    usual |= {"base_line": base_line, "machine": machine, "line": f"No base yet · {machine}"}
    return status.bundle(cast("Status", SimpleNamespace(**{**usual, **more})))


def _status(text: str) -> Bundle:
    rows = [(text, text, text, True), (text, text, text, False)]
    commands = [f"{text}  {text}"]
    return state(
        text,
        text,
        rows=rows,
        merged=text,
        next_commands=commands,
        found=[text],
        kept=[text],
        resumable=[text, text],
        serving=text,
    )


def preview(**more: Any) -> Preview:
    """A preview of two rows, one of them cut."""
    tokens = (
        ReadToken("<|user|>", 2, False, True),
        ReadToken(" a\n", 9, False, False),
        ReadToken("Here", 11, True, False),
        ReadToken("<|end|>", 1, True, True),
    )
    usual: dict[str, Any] = {
        "adapter": "pirate",
        "form": "chat",
        "rows": (PreviewRow(1, tokens, 0, False), PreviewRow(7, tokens * 60, 12, True)),
        "total": 300,
        "examples": 298,
        "trained_tokens": 2512,
        "max_length": 240,
        "end_token": "<|end|>",
        "lengths": Lengths.of([4, 4, 9, 12, 30, 61, 252]),
        "held_out": 30,
        "held_out_rows": (7, 9),
        "oddities": (Oddity("cut at 240 tokens", 1, (7,), "by up to 12 tokens"),),
        "notes": ("2 rows with unknown tokens",),
    }
    return Preview(**{**usual, **more})


def _preview(text: str) -> Bundle:
    row = PreviewRow(1, (ReadToken(text, 5, True, False), ReadToken(text, 1, True, True)), 0, False)
    odd = (Oddity(text, 1, (1,), text),)
    rows = (row, *preview().rows)
    return shown(preview(adapter=text, end_token=text, rows=rows, oddities=odd, notes=(text,)))


def _preview_of_labels(text: str) -> Bundle:
    row = PreviewRow(1, (ReadToken(text, 5, False, False),), 0, False, text)
    return shown(preview(adapter=text, form="labels", rows=(row,), labels=((text, 3), ("b", 0))))


def swept(arm: int, held_out: float | None, **more: Any) -> SweepArm:
    """One arm, with a curve from 3.3 to its loss."""
    usual: dict[str, Any] = {"setting": arm, "label": f"rank {arm}", "seed": 0, "rank": arm}
    usual |= {"lr": 1e-3, "method": "lora", "targets": "q_proj", "parameters": 100 * arm}
    usual |= {"steps": 10, "seconds": float(arm), "state": "dropped"}
    usual |= {"losses": ((0, 3.3), (10, held_out)) if held_out else ()}
    return SweepArm(**{**usual, **more, "arm": arm, "held_out": held_out})


def sweep(*arms: SweepArm, **more: Any) -> Sweep:
    """A sweep of 30 steps at most, whose first arm was chosen."""
    usual: dict[str, Any] = {"name": "best", "planned_steps": 30, "chosen": arms[0].arm}
    usual |= {"reported": 0.75, "base_loss": 3.31, "deciding": 5, "reporting": 4, "seconds": 63.0}
    return Sweep(arms=arms, **{**usual, **more})


def _sweep(text: str) -> Bundle:
    named = {"label": text, "method": text, "targets": text, "attach": text, "train": text}
    arms = (
        swept(1, 0.7, state="chosen", **named),
        swept(2, 0.9, setting=1, seed=1, **named),
        swept(3, None, state="failed", error=text, **named),
    )
    return shown(sweep(*arms, name=text))


def voted(*choices: str, pairs: tuple[tuple[str, str], ...] = (("pirate", "calm"),)) -> Votes:
    """Votes on these pairs in turn, the first of a pair on the left."""
    given = [
        Vote(f"Prompt {n}", *pairs[n % len(pairs)], choice, f"Left {n}", f"Right {n}")
        for n, choice in enumerate(choices)
    ]
    return Votes(tuple(given), len(given))


def _votes(text: str) -> Bundle:
    asked = [
        Vote(text, text, other, choice, text, text)
        for other in ("calm", "base")
        for choice in ("left", "tie", "both bad", "identical")
    ]
    return shown(Votes(tuple(asked), 9))


def board(*rows: BoardRow, curves: tuple[Curve, ...] = ()) -> Board:
    return Board(rows, curves)


def placed(adapter: str = "calm", held_out: float | None = 0.5, **more: Any) -> BoardRow:
    """A row of a board, on the rows `3f2a9c1b`, with base 2.5."""
    gain = None if held_out is None else 2.5 - held_out
    usual: dict[str, Any] = {"method": "lora", "rank": 8, "parameters": 24576, "bytes": 98304}
    usual |= {"steps": 60, "data": "3f2a9c1b", "base_held_out": 2.5, "gain": gain, "truth": 0.75}
    usual |= {"seconds": 7.5, "when": "2026-11-29T14:05:09+00:00"}
    return BoardRow(adapter=adapter, held_out=held_out, **{**usual, **more})


def _board(text: str) -> Bundle:
    named = {"method": text, "when": text, "saved": text}
    rows = (placed(text, 0.5, data=text[:8], **named), placed(text, 0.7, data=text[:8]))
    curves = (Curve(text, True, ((0, 2.5), (30, 0.7)), text), Curve(text, False, ((1, 2.0),)))
    return shown(board(*rows, placed("other", 0.2, data="other"), curves=curves))


def evaluated(
    losses: dict[str, list[float]], prompt: str = "Where", said: str = "Here", **more: Any
) -> Evaluation:
    """Adapters (the first is the base) by their losses on rows; half of the answers are right."""
    adapters, metrics = list(losses), more.pop("metrics", ())
    rows = [
        EvaluatedRow(
            at + 1,
            f"{at:03}",
            f"{prompt} {at}",
            f"{said} {at}",
            tuple(f"{said} {at} {name}" for name in adapters),
            {
                "loss": own,
                "exact_match": tuple(float((at + place) % 2) for place in range(len(own))),
                **dict.fromkeys(metrics, own),
            },
            (3,) * len(own),
        )
        for at, own in enumerate(zip(*losses.values(), strict=True))
    ]
    return Evaluation.of(adapters, rows, **{"data_hash": "0" * 64, "seconds": 2.0, **more})


def labels_given(given: dict[str, list[str]], true: list[str], **more: Any) -> Evaluation:
    """A classifier's adapters (the first is the base) by the labels that they give."""
    rows = [
        EvaluatedRow(
            at + 1,
            f"{at:03}",
            f"text {at}",
            label,
            own,
            {"loss": (0.5,) * len(own), "accuracy": tuple(float(one == label) for one in own)},
            (1,) * len(own),
        )
        for at, (label, own) in enumerate(zip(true, zip(*given.values(), strict=True), strict=True))
    ]
    labels = tuple(dict.fromkeys([*true, *(one for some in given.values() for one in some)]))
    usual: dict[str, Any] = {"data_hash": "0" * 64, "seconds": 2.0, "labels": labels}
    return Evaluation.of(list(given), rows, **{**usual, **more})


def _evaluation(text: str) -> Bundle:
    return shown(
        evaluated(
            {"base": [3.0, 2.0], text: [1.0, 1.5]},
            text,
            text,
            metrics=(text,),
            left_out=(text,),
            notes=(text,),
        )
    )


def _evaluation_of_labels(text: str) -> Bundle:
    return shown(labels_given({"base": [text, "b"], text: [text, text]}, [text, "b"]))


def way(name: str = "LoRA", parts: dict[str, int] | None = None, **more: Any) -> Way:
    """A way of using a model, with bytes by part; the setting is that of 2 rows of 1,024 tokens."""
    given = {"weights": 10**9, "activations": 10**9} if parts is None else parts
    setting = Setting(rows=2, spec=AdapterSpec(8, 16.0, 0.0, "q_proj,v_proj", 0))
    return Way(name, **{"setting": setting, "memory": Memory(tuple(given.items())), **more})


def plan(*ways: Way, model: str = "llama-2-7b", **more: Any) -> CostPlan:
    """A plan of rank 8 on q and v of a model of 7 billion parameters."""
    usual: dict[str, Any] = {
        "base_parameters": 6_738_415_616,
        "active_parameters": 6_738_415_616,
        "spec": AdapterSpec(8, 16.0, 0.0, "q_proj,v_proj", 0),
        "trainable_parameters": 4_194_304,
    }
    return CostPlan(model, **{**usual, "ways": ways, **more})


def ways_of_7b(fits: bool | None = None) -> tuple[Way, ...]:
    """The four ways of a model of 7 billion parameters in bf16; only 4-bit weights fit in 16 GB."""
    giga, half = 10**9, 13_476_831_232
    run = {"activations": 6_200 * 10**6, "logits": 390 * 10**6, "workspace": 300 * 10**6}
    lora = {"adapter": 16_777_216, "gradients": 16_777_216, "optimizer": 33_554_432, **run}
    known: dict[str, Any] = {"cards": 1, "flops": 2.7e16, "hours": 0.15, "price": 0.375}
    four = way().setting.changed(bits=4)
    full = {"weights": half, "gradients": half, "optimizer": 2 * half, **run}
    return (
        way("inference", {"weights": half, "cache": giga}, fits=fits, rows=4, length=4096, **known),
        way("LoRA", {"weights": half, **lora}, fits=fits and False, length=256, **known),
        way("QLoRA", {"weights": 4 * giga, **lora}, setting=four, fits=fits, rows=2, **known),
        way("full fine-tuning", full, trained=6_738_415_616, fits=fits and False, **known),
    )


def _plan(text: str) -> Bundle:
    refused = way(f"{text} 2", {}, refused=text)
    named = {"advice": text, "command": text, "where": text, "notes": (text,)}
    return shown(
        plan(
            *ways_of_7b(True),
            way(text, {text: 9 * 10**9}, fits=True),
            refused,
            model=text,
            room=16 * 10**9,
            types=(TypeCount(text, 32, 4096, 4096, 536_870_912, 2_097_152),),
            rows=(Row(text, text, text), Row("alone", text)),
            checkpoint=16_777_216,
            tasks=1000,
            stored=30 * 10**9,
            copies=13 * 10**12,
            tokens=1e6,
            **named,
        )
    )


#: The name of a display, and how to make it with one text everywhere.
ALL: dict[str, Callable[[str], Bundle]] = {
    "spectrum": lambda text: shown(spectrum(modules(2, ("q_proj", text), adapter=text))),
    "spectrum of many": lambda text: shown(spectrum(modules(12, ("q_proj", text), adapter=text))),
    "similarity": lambda text: shown(
        similarity(text, "b", modules=(f"0.{text}", f"1.{text}"), notes=(text,))
    ),
    "similarity of one": lambda text: shown(similarity(text, modules=(text,), notes=(text,))),
    "similarity of many": lambda text: shown(
        similarity(text, "b", "c", modules=tuple(f"{layer}.{text}" for layer in range(30)))
    ),
    "removed intruders": lambda text: shown(removal(text, text, notes=(text,))),
    "spectrum of one module": lambda text: shown(_one_module(text)),
    "spectrum with intruders": lambda text: shown(_with_intruders(text)),
    "comparison": _comparison,
    "scored comparison": _scored_comparison,
    "scores": _scores,
    "lens": _lens,
    "lens without states": lambda text: shown(
        Lens(text, (LensToken("answers", text, text, 0.2, 1),), (), 3, 3, 9, no_states=text)
    ),
    "lens of an untrained adapter": lambda text: shown(Lens(text, (), (), 100, no_words=text)),
    "classification": _classification,
    "answer": lambda text: shown(Answer(text, text, text, 3, 1.0, False)),
    "answers": lambda text: shown(Answers(text, (TextRow(text, text, 3), TextRow(text)), 1.0)),
    "labels of a column": lambda text: shown(Answers(text, (LabelRow(text, text, 0.9),), 1.0)),
    "ratio": lambda text: shown(count(text)),
    "ratio by layer": lambda text: shown(
        count(
            text,
            base_parameters=8_000_000_000,
            modules=tuple(
                ModuleCount(f"layers.{layer}.q_proj", 512, 512, 1, 1024, 1024) for layer in range(3)
            ),
        )
    ),
    "progress": _progress,
    "training": lambda text: shown(
        run(text, method_facts=((text, text),), held_out_losses=((0, 3.5),))
    ),
    "training from inside": lambda text: shown(run(text, inside=inside(text, f"1.{text}"))),
    "training with answers forgotten": lambda text: shown(run(text, forgetting=forgotten(text))),
    "receipt": lambda text: receipt.bundle(
        line=text,
        facts=[(text, text)],
        table=receipt.Rows(text, (text, text), ((text, text),)),
    ),
    "server": lambda text: serve.bundle(line=text, running=True, model=text, token_required=True),
    "stopped server": lambda text: serve.bundle(
        line=text, running=False, model=text, token_required=True
    ),
    "export": _export,
    "script": lambda text: shown(
        Script(text, Path(text), ((text, 1), (text, 2)), (), f"{text}\n" * 20, (text,))
    ),
    "merge": lambda text: shown(merged(text)),
    "compression": _compression,
    "evidence for a rank": _evidence,
    "ranks on rows": lambda text: shown(rank_evidence(text, 4)),
    "many ranks on rows": lambda text: shown(rank_evidence(text, 32, stopped=True)),
    "verification": lambda text: shown(Verification(3, 24, (text,), False, 0.01)),
    "doctor": lambda text: shown(
        Examination(
            (
                Finding(text, text, PROBLEM, text, text),
                Finding("machine", text, OK, text),
                Finding("machine", "threads", NOTE, text, text),
            ),
            1.0,
        )
    ),
    "history": lambda text: shown(
        History((entry(text), entry(text, text)), text, 2, (1, 2), trouble=text)
    ),
    "two runs": lambda text: shown(
        Difference((text, text), (entry(text), entry(text)), ((text, text, text, text),))
    ),
    "preview": _preview,
    "preview of labels": _preview_of_labels,
    "status": _status,
    "sweep": _sweep,
    "votes": _votes,
    "votes of one pair": lambda text: shown(voted("left", pairs=((text, "calm"),))),
    "ballot": lambda text: {
        "text/plain": "",
        "text/html": ballot_html("Prompt 1 of 2", text, text, text),
    },
    "board": _board,
    "plan": _plan,
    "plan without memory": lambda text: shown(plan(model=text, notes=(text,))),
    "evaluation": _evaluation,
    "evaluation of labels": _evaluation_of_labels,
    "status without a base": lambda text: state(
        None, text, next_commands=[f"{text}  {text}"], found=[text]
    ),
}
