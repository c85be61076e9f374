"""One call of every display, with any text in every place that takes text."""

from __future__ import annotations

import math
from collections.abc import Callable

from lora_magic.views import (
    classification,
    comparison,
    compression,
    merge,
    ratio,
    receipt,
    spectrum,
    status,
    training,
    verification,
)

Bundle = dict[str, object]


def modules(
    layers: int, kinds: tuple[str, ...], rank: int = 8, adapter: str = "pirate"
) -> list[tuple[str, str, list[float]]]:
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


def summary(series: list[tuple[str, str, list[float]]]) -> list[dict[str, object]]:
    return [
        {
            "adapter": adapter,
            "module": path,
            "rank": len(sigmas),
            "effective_rank": 3.25,
            "stable_rank": 1.5,
            "energy_90": 3,
            "sigma_1": max(sigmas),
            "norm": math.hypot(*sigmas),
        }
        for adapter, path, sigmas in series
    ]


def pane(adapter: str, words: list[tuple[str, bool]], **more: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "adapter": adapter,
        "words": words,
        "tokens": 12,
        "ended": True,
        "seconds": 0.82,
        "batched": True,
        "first_logit_change": None if adapter == "base" else 3.25,
        "note": "",
    }
    return {**usual, **more}


def labelled(adapter: str, shares: dict[str, float], note: str = "") -> dict[str, object]:
    chosen = max(shares, key=lambda label: shares[label])
    return {"adapter": adapter, "shares": list(shares.items()), "chosen": chosen, "note": note}


def _classification(text: str) -> Bundle:
    columns = [
        labelled("base", {text: 0.25, "other": 0.75}),
        labelled(text, {text: 1.0, "other": 0.0}, text),
    ]
    return classification.bundle(groups=[(text, columns)], line=text)


def _spectrum(text: str) -> Bundle:
    series = modules(2, ("q_proj", text), adapter=text)
    return spectrum.bundle(title=text, series=series, summary=summary(series))


def _many(text: str) -> Bundle:
    series = modules(12, ("q_proj", text), adapter=text)
    return spectrum.bundle(title=text, series=series, summary=summary(series))


def _comparison(text: str) -> Bundle:
    panes = [pane("base", [(text, False)]), pane(text, [(text, True), (" ", False)], note=text)]
    return comparison.bundle(groups=[(text, panes)])


def _ratio(text: str) -> Bundle:
    row: dict[str, object] = {"adapter": text, "rank": 8, "modules": 8, "trainable": 16384}
    row |= {"formula": 16384, "share": 0.0153, "checkpoint_bytes": 66000}
    return ratio.bundle(
        title=text,
        base_parameters=1071616,
        rows=[row],
        facts=[(text, text)],
        example=(128, 64, 8),
    )


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
    )
    return {"text/html": page, "text/plain": ""}


def _merge(text: str) -> Bundle:
    row: dict[str, object] = {"module": text, "relative_change": 0.04, "lost_to_rounding": 0.1}
    return merge.bundle(line=text, facts=[(text, text)], rows=[row])


def _compression(text: str) -> Bundle:
    return compression.bundle(
        line=text,
        command=text,
        ranks=[],
        modules=[(text, 8, 4, 0.5, 0.12), (f"{text} 2", 0, 0, 0.25, 1.0)],
    )


def _evidence(text: str) -> Bundle:
    return compression.bundle(
        line=text,
        command=text,
        ranks=[(1, 0.5, 0.75, text), (2, 0.0, 0.0, text)],
        modules=[(text, 2, 2, 0.5, 0.0)] * 30,
    )


def _status(text: str) -> Bundle:
    return status.bundle(
        base=text,
        machine=text,
        adapters=[(text, text, text, True), (text, text, text, False)],
        merged=text,
        next_commands=[f"{text}  {text}"],
        found=[text],
    )


#: The name of a display, and how to make it with one text everywhere.
ALL: dict[str, Callable[[str], Bundle]] = {
    "spectrum": _spectrum,
    "spectrum of many": _many,
    "comparison": _comparison,
    "classification": _classification,
    "answer": lambda text: comparison.answer_bundle(
        prompt=text, adapter=text, text=text, tokens=3, seconds=1.0, ended=False
    ),
    "ratio": _ratio,
    "progress": _progress,
    "training": lambda text: training.summary_bundle(
        title=text, line=text, losses=[3.0, 2.0], facts=[(text, text)], held_out=[(0, 3.5)]
    ),
    "receipt": lambda text: receipt.bundle(
        line=text,
        facts=[(text, text)],
        table=receipt.Rows(text, (text, text), ((text, text),)),
    ),
    "merge": _merge,
    "compression": _compression,
    "evidence for a rank": _evidence,
    "verification": lambda text: verification.bundle(
        line=text, facts=[(text, text)], changed=[text]
    ),
    "status": _status,
    "status without a base": lambda text: status.bundle(
        base=None, machine=text, next_commands=[f"{text}  {text}"], found=[text]
    ),
}
