"""More than one device on paper: bytes on the wire against compute, shipping, and break-even.

    python -m tests.benchmarks.scale [--measure]

Writes scale.md, next to this file, from the counts of scale_counts.py. With --measure it first
measures here what start-up, a second worker and a restart cost (scale_runs.py; minutes), and writes
results/scale.txt, of which scale.md has a copy. pytest does not collect this file; test_scale.py
compares cells with sums done by hand.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

from lora_magic.cost.cards import CARDS, REACHED
from lora_magic.numbers import count, duration, figures, size
from tests.benchmarks import scale_counts as counts
from tests.benchmarks import scale_published as published
from tests.benchmarks.scale_counts import (
    CARD,
    CASES,
    DATA,
    DEVICES,
    FSDP,
    LARGE,
    LINKS,
    SMALL,
    Case,
)

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "scale.md", HERE / "results" / "scale.txt"
#: Links between machines.
NETWORK = [link for link in LINKS if link != "NVLink 4"]
QV = Case("7B", "LoRA r8 q,v")

TEXT = """# More than one device, on paper

`python -m tests.benchmarks.scale` computes this page from the package's own counts of parameters,
operations and memory (`lora_magic.cost`, which `%lora plan` shows); `test_scale.py` compares cells
with sums done by hand. Only the last section is measured, and S and R, which are taken from it.
Sizes are decimal.

- **LoRA in data parallel sends its own gradients.** A 7B model at rank 8 on q and v sends {lora} a
  step and device, full fine-tuning {full}: {less} times as much. On 10 Gb/s that is {lora_waits}
  against {full_waits}, beside {works} of computing.
- **FSDP sends the base twice a step, whatever is trained**: {fsdp} at 7B, as much as full
  fine-tuning sends in data parallel. LoRA saves memory there, and a third of the bytes. Use it
  within a machine, or where the base fits no card.
- **A 70B base in 16 bits ({large}) does not fit a card of 80 GB**, so data parallel on it is
  impossible. Either split it with FSDP over 8 cards with NVLink ({split} on each, {split_share} of
  the step is communication; over 400 Gb/s {net_share}), or load it in 4 bits on each card ({low})
  and send {large_lora} a step.
- **Workers pay off early.** Where communication is short, two are faster than one for a run that
  takes one device longer than twice their start-up, eight for one that takes longer than 8/7 of
  it. Start-up is the engine's, and reading the base.

## Assumptions
- Models: Llama 2 7B ({small_count} parameters) and Llama 3 70B ({large_count}). Each device reads
  {rows} packed rows of {length} tokens in a step, in one pass, all labelled. 70B runs with
  gradient checkpointing, 7B without. Attention is counted in full, with the half that a causal
  mask leaves out; what a base in 4 bits costs to dequantise is not counted.
- Base, and the gradients of full fine-tuning: 16 bits. Adapter and its gradients: float32, as this
  project trains them. (This project also sums full fine-tuning's gradients in float32, which
  doubles them.)
- An H100 computes {reached} of its maker's {tflops:.0f} TFLOPS (dense, 16 bits), which is what
  `plan` assumes; published runs reached more, and then communication is a larger share. On another
  card, scale the seconds by its speed.
- A link carries {link} of its nominal rate in each direction: H100s reach 380 of 450 GB/s over
  NVLink (NVIDIA/nccl issue 1264). A ring passes each machine once, so the link is the slowest one
  between neighbours, also where devices of a machine share it.
- Seconds are without overlap. Our gradients are summed after the backward pass, so none is hidden;
  FSDP gathers the next block while one computes, and at best hides all of it where computing takes
  longer (cells that are not **bold**).
- Latency is left out: a ring of N takes 2·(N − 1) hops, one after the other. At 25 µs each
  (assumed) that is {hops_8} for 8 and {hops_64} for 64: add it to the shortest cells.

## Bytes on the wire and compute, per step and device
S bytes, N devices. A reduce-scatter or an all-gather moves (N − 1)/N·S through each device, an
all-reduce is one of each: 2·(N − 1)/N·S (Patarasuk and Yuan, *Bandwidth optimal all-reduce
algorithms*, 2009; nccl-tests, doc/PERFORMANCE.md).

{ways}

These do not grow with batch or length; compute does. With gradient accumulation data parallel
sends once a step, FSDP gathers in every pass.

{work}

## Seconds on an H100, and the share of the step that is communication
**Bold**: communication takes longer than computing. "holds" is what a card must hold, in bold if
one of 80 GB does not: of LoRA as `plan` counts it, of full fine-tuning 16 bytes a parameter and
the same activations; without the blocks that FSDP gathers for a moment. On 8 devices:

{links_8}

On 64 devices, in several machines:

{links_64}

## From which base on one card is not enough
The same step, 7B without checkpointing; the fewest H100s of 80 GB that hold it, by FSDP if more
than one. A base in 4 bits is on one card or on none here.

{sizes}

## Tokens per device and step from which computing takes longer than communication
On 64 devices, H100. Below this, communication is more than half of the step; at ten times as many
tokens it is 9%.

{tokens}

## Time to ship a base to a worker
This project sends no base: a worker reads it from a path or a hub id, checks that its weights have
the same fingerprint, and gets rows and adapter from the notebook. A checkpoint has weights and
AdamW's two moments in float32, 12 bytes a parameter. A shared path is a server with one link of
100 Gb/s, so its time grows with the readers; for many workers, copy the base to their own disks
once. A broadcast along a ring takes as long as one reader.

{shipping}

## From which run on more workers pay off
{symbols}

A run of n steps takes n·t on one device, and S + L + n·(1 + ρ)·(t/N + c) on N with ρ = N·(R +
K/2)/M: a failure costs the restart, and on average half of what lies between checkpoints. They are
equal at

    n* = (S + L) / (t − (1 + ρ)·(t/N + c))

Without communication that is a run of (S + L)·N/(N − 1) seconds on one device. Where t/N + c ≥ t,
more workers never pay off. Failures hardly matter: ρ is {failures} for 8 workers, and {preempted}
if each fails once a day. This is about time: in money, N devices cost at least as much as one for
the same run.

{even}

A 7B model in full does not fit one card, so more than one is needed from the first step.

## Against published figures
What is counted here is a bound: computing at a constant speed, communication at a constant rate,
nothing else.

{published}

Sources: LoRA, arXiv 2106.09685v2, footnote 5; VectorInstitute/vectorlm,
docs/reference_throughput.md; foundation-model-stack/fms-fsdp, README.md; pytorch/torchtitan,
docs/performance.md (8,192 tokens: its default for Llama 3). The LoRA paper does not say whether
its runs used checkpointing. fms-fsdp names 400 Gb/s, torchtitan no link.

## Measured here
{measured}
"""


def page() -> str:
    """All of scale.md."""
    return TEXT.format(**_quoted(), **_assumed(), **_tables())


def _quoted() -> dict[str, str]:
    """The figures of the first paragraphs."""
    full, large = Case("7B", "full"), Case("70B", "LoRA r8 q,v")
    lora, whole = QV.wire(DATA, 8), full.wire(DATA, 8)
    return {
        "lora": size(lora),
        "full": size(whole),
        "less": count(whole / lora),
        "lora_waits": told(counts.sent(lora, "10 Gb/s")),
        "full_waits": told(counts.sent(whole, "10 Gb/s")),
        "works": f"{told(QV.seconds())} and {told(full.seconds())}",
        "fsdp": size(QV.wire(FSDP, 8)),
        "large": size(large.base),
        "split": size(large.needed(FSDP, 8)),
        "split_share": share(large, FSDP, 8, "NVLink 4"),
        "net_share": share(large, FSDP, 8, "400 Gb/s"),
        "low": size(large.held(bits=4).peak),
        "large_lora": size(large.wire(DATA, 8)),
    }


def _assumed() -> dict[str, object]:
    """The assumptions."""
    return {
        "small_count": count(SMALL.model.parameters),
        "large_count": count(LARGE.model.parameters),
        "rows": counts.ROWS,
        "length": count(counts.LENGTH),
        "reached": f"{REACHED:.0%}",
        "tflops": CARDS[CARD].flops / 1e12,
        "link": f"{counts.REACHED_LINK:.0%}",
        "hops_8": told(14 * 25e-6),
        "hops_64": told(126 * 25e-6),
        "batch": counts.STEP_ROWS,
        "failures": percent(counts.failure_share(8)),
        "preempted": percent(counts.failure_share(8, 86_400)),
    }


def _tables() -> dict[str, str]:
    measured = "Not measured yet."
    if RESULTS.exists():
        measured = f"```\n{RESULTS.read_text(encoding='utf-8').strip()}\n```"
    return {
        "ways": ways_table(),
        "symbols": symbols_table(),
        "work": work_table(),
        "links_8": link_table(8),
        "links_64": link_table(64),
        "sizes": sizes_table(),
        "tokens": tokens_table(),
        "shipping": shipping_table(),
        "even": break_even_table(),
        "published": table(["", "published", "by the counts here"], published.rows()),
        "measured": measured,
    }


def told(seconds: float) -> str:
    """Seconds, short ones in milliseconds."""
    return f"{figures(1000 * seconds, 2)} ms" if seconds < 0.0995 else duration(seconds)


def percent(part: float) -> str:
    """A share with two figures."""
    return "under 0.1%" if part < 0.001 else f"{figures(100 * part, 2)}%"


def share(case: Case, way: str, devices: int, link: str) -> str:
    """The share of a step that is communication."""
    waits = counts.sent(case.wire(way, devices), link)
    return percent(waits / (waits + case.seconds()))


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(titles)
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def ways_table() -> str:
    """The formulas of bytes on the wire."""
    base, gradients = "(N − 1)/N·base", "2·(N − 1)/N·gradients"
    full = (
        "gathered for the forward pass and again for the backward pass, and gradients summed "
        "(ZeRO, arXiv 1910.02054, section 7.2.2: 3Ψ, against 2Ψ of data parallel)"
    )
    frozen = (
        "gathered twice, since the gradients of activations need a frozen weight too; "
        "of gradients only the adapter's are summed"
    )
    return table(
        ["way", "bytes that each device sends, and receives", "why"],
        [
            [DATA, gradients, "gradients summed"],
            [f"{FSDP}, full", f"3·{base}", full],
            [f"{FSDP}, frozen base", f"2·{base} + {gradients}", frozen],
        ],
    )


def symbols_table() -> str:
    """The symbols of the break-even."""
    started = "measured below: {accelerate:.0f} s; Ray {ray:.0f} s".format_map(counts.START)
    hours = f"{counts.BETWEEN_FAILURES / 3600:,.0f} h"
    source = "Llama 3, arXiv 2407.21783, section 3.3.4: 419 in 54 days on 16,384 H100"
    return table(
        ["symbol", "", "here"],
        [
            ["N", "workers", "2, 8"],
            ["t", f"seconds of a step of {counts.STEP_ROWS} rows on one device", "as above"],
            ["c", "seconds of its communication on N workers", "data parallel, as above"],
            ["S", "seconds until the workers run", started],
            ["L", "seconds until they have read the base", "as above"],
            ["K", "seconds between checkpoints", f"{counts.EVERY:.0f} s, the default"],
            ["R", "seconds from a failure to the next new step", f"{counts.RESTART:.0f} s"],
            ["M", "device-time between two failures", f"{hours} ({source})"],
        ],
    )


def work_table() -> str:
    """What each device computes and sends in a step."""
    cards = (CARD, counts.OTHER_CARD)
    ways = [(way, devices) for way in (DATA, FSDP) for devices in DEVICES]
    return table(
        [
            *("model", "trained", "parameters", "TFLOP"),
            *(CARDS[card].title for card in cards),
            *(f"{way}, {devices}" for way, devices in ways),
        ],
        (
            [
                *(case.size, case.what, count(case.trained), count(case.operations() / 1e12)),
                *(told(case.seconds(card)) for card in cards),
                *(size(case.wire(way, devices)) for way, devices in ways),
            ]
            for case in CASES
        ),
    )


def link_table(devices: int) -> str:
    """Seconds and share of communication by link."""
    links = NETWORK if devices > 8 else list(LINKS)

    def cell(case: Case, way: str, link: str) -> str:
        waits = counts.sent(case.wire(way, devices), link)
        found = f"{told(waits)}, {share(case, way, devices, link)}"
        return f"**{found}**" if waits > case.seconds() else found

    return table(
        ["model", "trained", "way", "holds", "computes", *links],
        (
            [
                *(case.size, case.what, way, room(case, way, devices), told(case.seconds())),
                *(cell(case, way, link) for link in links),
            ]
            for case in CASES
            for way in (DATA, FSDP)
        ),
    )


def room(case: Case, way: str, devices: int) -> str:
    """The bytes that a card must hold, with those of a base in 4 bits where that makes it fit."""
    most, needed = CARDS[CARD].room, case.needed(way, devices)
    if needed <= most:
        return size(needed)
    if case.full or way == FSDP:
        return f"**{size(needed)}**"
    return f"**{size(needed)}**, base in 4 bits {size(case.held(bits=4).peak)}"


def sizes_table() -> str:
    """What bases of several sizes need, and how many cards that takes."""
    spec = "LoRA r16 all-linear"

    def row(name: str) -> list[str]:
        lora, full = Case(name, spec), Case(name, "full")
        low = lora.held(bits=4).peak
        fits = "1" if low <= CARDS[CARD].room else "–"
        return [
            *(name, count(lora.model.parameters), size(lora.needed(DATA, 1)), str(lora.cards())),
            *(size(low), fits, size(full.needed(DATA, 1)), str(full.cards())),
        ]

    ways = (f"{spec}, 16 bits", f"{spec}, base in 4 bits", "full")
    titles = (title for way in ways for title in (way, "cards"))
    return table(["base", "parameters", *titles], map(row, counts.MODELS))


def tokens_table() -> str:
    """Tokens per device and step from which computing takes longer than communication."""

    def cell(case: Case, way: str, link: str) -> str:
        waits = counts.sent(case.wire(way, DEVICES[-1]), link)
        return count(float(f"{waits / case.seconds() * counts.TOKENS:.2g}"))

    return table(
        ["model", "trained", "way", *NETWORK],
        (
            [case.size, case.what, way, *(cell(case, way, link) for link in NETWORK)]
            for case in CASES
            for way in (DATA, FSDP)
        ),
    )


def shipping_table() -> str:
    """Seconds until a worker has a file, by where it comes from."""
    files = {
        "70B base, 16 bits": LARGE.base,
        "7B base, 16 bits": SMALL.base,
        "7B checkpoint, full": counts.CHECKPOINT * SMALL.model.parameters,
        "70B checkpoint, LoRA r16 all-linear": counts.CHECKPOINT * LARGE.trained,
        "7B checkpoint, LoRA r16 all-linear": counts.CHECKPOINT * SMALL.trained,
        "70B adapter, r16 all-linear": counts.WIDE * LARGE.trained,
        "7B adapter, r16 all-linear": counts.WIDE * SMALL.trained,
        "7B adapter, r8 q,v": counts.WIDE * QV.trained,
    }

    def row(array: int) -> Iterable[float]:
        yield from (counts.sent(array, link) for link in NETWORK)
        yield counts.from_hub(array, 1)
        yield counts.from_disk(array, 1)
        yield from (counts.from_path(array, readers) for readers in DEVICES)

    paths = (f"a shared path, {readers} at once" for readers in DEVICES)
    return table(
        ["", "bytes", *NETWORK, "a hub, 1 Gb/s", "own disk, 5 GB/s", *paths],
        ([name, size(array), *map(told, row(array))] for name, array in files.items()),
    )


def break_even_table() -> str:
    """From which run on more workers are faster."""
    titles = ["", "N", "S", "L", "t", "t/N + c", "speed-up", "n*", "tokens", "n*·t"]
    return table(
        titles, (break_even_row(plan, workers) for plan in counts.PLANS for workers in (2, 8))
    )


def break_even_row(plan: counts.Plan, workers: int) -> list[str]:
    """One plan with so many workers."""
    alone, together = plan.steps(workers)
    before = plan.before(workers)
    failures = counts.failure_share(workers)
    steps = math.ceil(counts.break_even(alone, together, sum(before), failures))
    tokens = steps * counts.STEP_ROWS * counts.LENGTH
    return [
        *(plan.title, str(workers), *map(told, before), told(alone), told(together)),
        *(f"{alone / together:.2f}×", count(steps), count(tokens), duration(steps * alone)),
    ]


def main() -> None:
    """Write the page, after measuring if that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale")
    parser.add_argument("--measure", action="store_true", help="measure here first (minutes)")
    if parser.parse_args().measure:
        from tests.benchmarks import scale_runs

        RESULTS.write_text(scale_runs.measured(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
