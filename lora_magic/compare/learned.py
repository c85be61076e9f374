"""What an adapter learned, as tokens: from its answers to questions, and from its hidden states.

    s(v) = mean over positions of p_a(v)·max(0, ln p_a(v)/p_b(v))

at each of the first 24 tokens of the adapter's own greedy answers, p_a being the adapter's and p_b
the base's probability of token v after the same tokens. It is the part of KL(p_a‖p_b) that v gains.
The states follow the activation-difference lens (arXiv 2510.13900): the mean over all positions of
the prompts of h_a − h_b, after each layer, read as logits.

Each batch is generated once and then read by two passes of the same tokens, one with the adapter
and one without: both have the same shapes, so an adapter without effect gives exactly 0. Knows
models, slots and prompt forms; knows no session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters.slots import Slots
from lora_magic.base.finite import finite_rows
from lora_magic.base.tokens import special_ids

from .ask import OnText, refuse
from .bulk import BulkRun, check_row_lengths
from .generate import Generation, generate
from .lens import ANSWERS, RANDOM, SHOWN, STATES, Lens, LensLayer, LensToken, ranked
from .limits import check_known, new_tokens
from .readout import Readout, find_readout, watching
from .scores import MOST, forward
from .stack import Variant
from .words import shown, word_at

#: Tokens of an answer that are read.
NEW_TOKENS = 24
#: Questions in a batch, so that there is progress, and something left after a stop.
_BATCH = 25
#: Tokens that are completed to words, so that 20 words differ, and tokens that complete one.
_CANDIDATES, _COMPLETING = 40, 6
#: Tokens that gain less are not shown, in nats per token: of 2,400 tokens 0.24 nats in all.
LEAST = 1e-4
#: A token that the base excludes counts as if it were so many nats less likely.
_MOST_NATS = 100.0
_TINY = 1e-12

#: A prompt and the tokens of its answer.
_Row = tuple[Sequence[int], Sequence[int]]


@torch.no_grad()
def learned(
    model: Any,
    slots: Slots,
    tokenizer: Any,
    variant: Variant,
    questions: Sequence[str],
    *,
    seed: int = 0,
    context: int,
    no_states: str = "",
    watch: OnText | None = None,
) -> Lens:
    """Both readings of an adapter; base and adapter read the questions in the adapter's form.

    `seed` is that of the random directions; `no_states` says why there are no states to read. After
    each new token `watch` is called with a function that returns the progress in one line; if it
    returns true, what was answered until then is read. Slots and model are restored. Raises
    `PromptError` for questions that cannot be read or leave no room in the context, and for logits
    that are not finite.
    """
    begun = time.perf_counter()
    run = BulkRun(watch, most=_BATCH)
    rows = run.encoded(questions, lambda question: variant.form.encode(tokenizer, question))
    check_row_lengths(questions, rows, context)
    if rows:
        check_known(list(rows.values()), model)
    readout: Readout | str = no_states
    if not no_states:
        with slots.using({}):
            readout = find_readout(model)
    read = _Reading(model, slots, tokenizer, variant, context, readout, run)
    answered = 0
    for batch, answers in run.batches(
        rows, lambda length: new_tokens(length, context, NEW_TOKENS), read.answers
    ):
        read.add([(rows[one], answer.ids) for one, answer in zip(batch, answers, strict=True)])
        answered += len(batch)
    words = [] if not read.positions else ranked(ANSWERS, list(read.words()))
    layers, states = read.states(seed)
    return Lens(
        variant.name,
        (*words, *states),
        layers,
        asked=len(rows) or len(questions),
        answered=answered,
        positions=read.positions,
        no_words=_no_words(words, answered),
        no_states=readout if isinstance(readout, str) else "",
        seconds=time.perf_counter() - begun,
        stopped=run.stopped,
    )


def _no_words(words: Sequence[LensToken], answered: int) -> str:
    if words:
        return ""
    if not answered:
        return "stopped by you before it answered a question"
    return f"it makes no token more likely than the base does (by {LEAST:g} nats per token)"


@dataclass
class _Reading:
    """Sums over what was read so far. V tokens, L layers, H the width of a state."""

    model: Any
    slots: Slots
    tokenizer: Any
    variant: Variant
    context: int
    readout: Readout | str
    run: BulkRun
    #: Σ s [V] over positions; the position drawn for each token [V], and what decided the draw.
    gained: Tensor | None = None
    where: Tensor = field(default_factory=lambda: torch.empty(0))
    largest: Tensor = field(default_factory=lambda: torch.empty(0))
    drawn: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))
    #: The row of each position, and its place in the answer.
    positions_of: list[tuple[_Row, int]] = field(default_factory=list)
    #: Σ h_a − h_b and Σ ‖h_b‖ by layer, over `prompt_positions`.
    moved: dict[str, Tensor] = field(default_factory=dict)
    lengths: dict[str, float] = field(default_factory=dict)
    prompt_positions: int = 0

    @property
    def positions(self) -> int:
        """The positions of answers that were read."""
        return len(self.positions_of)

    def answers(self, inputs: Sequence[Sequence[int]]) -> list[Generation]:
        """The adapter's greedy answers to one batch, of at most `NEW_TOKENS` tokens."""
        made = self._generated(inputs, NEW_TOKENS, self.run.on_token)
        for ids, one in zip(inputs, made, strict=True):
            if not one.finite:
                refuse(self.model, self.slots, ids, self.variant.name)
        return made

    def _generated(
        self, inputs: Sequence[Sequence[int]], most: int, watch: Callable[[Any], bool] | None = None
    ) -> list[Generation]:
        with self.slots.using(self.variant.replacements):
            return generate(
                self.model,
                self.tokenizer,
                inputs,
                stop_ids=self.variant.form.stop_ids,
                max_new_tokens=most,
                context=self.context,
                watch=watch,
            )

    def add(self, rows: Sequence[_Row]) -> None:
        """Read some answers under adapter and base, in parts that fit into memory."""
        kept = [row for row in rows if row[1]]
        known = self.model.get_input_embeddings().weight.shape[0]
        while kept:
            # Each position has a row of logits, and some four of the same size are made of it.
            longest = len(kept[0][0]) + NEW_TOKENS
            many = max(1, MOST // (4 * longest * known))
            self._add(kept[:many])
            kept = kept[many:]

    def _add(self, rows: Sequence[_Row]) -> None:
        own = self._log_probabilities(rows, self.variant.replacements, 1)
        base = self._log_probabilities(rows, {}, -1)
        # −∞ under both, as of a masked vocabulary, is no difference.
        gains = own.exp() * (own - base).nan_to_num_(0.0, posinf=_MOST_NATS).clamp_min_(0)
        first = self.positions
        self.positions_of += [(row, place) for row in rows for place in range(len(row[1]))]
        self.prompt_positions += sum(len(prompt) for prompt, _ in rows)
        total = gains.sum(0)
        # The position with the largest s/E, E exponential, is a draw with probability s/Σs: a
        # position that the token's score comes from. The one with the largest s may be an odd one.
        noise = torch.empty(len(gains), 1).exponential_(generator=self.drawn).clamp_min_(_TINY)
        largest, at = gains.div_(noise.to(gains)).max(0)
        if self.gained is None:
            self.gained, self.largest, self.where = total, largest, at
            return
        self.gained += total
        self.where = torch.where(largest > self.largest, at + first, self.where)
        self.largest = torch.maximum(largest, self.largest)

    def _log_probabilities(
        self, rows: Sequence[_Row], replacements: Mapping[str, nn.Module], sign: int
    ) -> Tensor:
        """ln p [P, V] in float32 at each position of the answers; states are added to the sums."""
        with self.slots.using(replacements), ExitStack() as stack:
            if isinstance(self.readout, Readout):
                modules = {path: self.model.get_submodule(path) for path in self.readout.layers}
                lengths = [len(prompt) for prompt, _ in rows]
                notes = {path: partial(self._note, path, lengths, sign) for path in modules}
                stack.enter_context(watching(modules, notes))
            logits, firsts = forward(self.model, rows)
        parts = [
            logits[row, first : first + len(answer)].float()
            for row, ((_, answer), first) in enumerate(zip(rows, firsts, strict=True))
        ]
        found = torch.cat(parts)
        if not bool(finite_rows(found).all()):
            refuse(self.model, self.slots, rows[0][0], self.variant.name)
        return found.log_softmax(-1)

    def _note(
        self, path: str, lengths: Sequence[int], sign: int, given: Tensor | None, output: Tensor
    ) -> None:
        """Add the states [N, T, H] after a layer at the positions of the prompts."""
        wide = torch.float32 if output.device.type == "mps" else torch.float64
        states = torch.cat([output[row, :length] for row, length in enumerate(lengths)]).to(wide)
        total = sign * states.sum(0)
        self.moved[path] = self.moved[path] + total if path in self.moved else total
        if sign < 0:
            length = float(states.norm(dim=-1).sum())
            self.lengths[path] = self.lengths.get(path, 0.0) + length

    def words(self) -> Iterator[tuple[str, str, float]]:
        """Token, word and score of the 20 words that gain most, each word once."""
        assert self.gained is not None  # something was read
        scores = self._allowed(self.gained / self.positions)
        values, ids = (part.tolist() for part in scores.topk(min(_CANDIDATES, len(scores))))
        found = [
            (value, i, self.positions_of[int(self.where[i])])
            for value, i in zip(values, ids, strict=True)
            if value >= LEAST
        ]
        starts = [[*prompt, *answer[:place], i] for _, i, ((prompt, answer), place) in found]
        rest = self._completed(starts)
        seen: set[str] = set()
        for (value, i, ((_, answer), place)), after in zip(found, rest, strict=True):
            token, word = word_at(self.tokenizer, answer[:place], i, after)
            if word not in seen and len(seen) < SHOWN:
                seen.add(word)
                yield token, word, value

    def _completed(self, starts: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
        """The next tokens after each start as the adapter goes on; none without room for them."""
        many = self.run.most
        for at in range(0, len(starts), many):
            part = starts[at : at + many]
            if max(map(len, part)) < self.context:
                yield from (one.ids for one in self._generated(part, _COMPLETING))
            else:
                yield from ((),) * len(part)

    def states(self, seed: int) -> tuple[tuple[LensLayer, ...], list[LensToken]]:
        """The mean difference after each layer, and its tokens beside those of a random direction.

        The random directions are normal, scaled to the same length, and drawn on the CPU.
        """
        if not isinstance(self.readout, Readout) or not self.prompt_positions:
            return (), []
        paths, count = self.readout.layers, self.prompt_positions
        means = torch.stack([self.moved[path].cpu() for path in paths]) / count
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(means.shape, generator=generator).to(means)
        lengths = means.norm(dim=-1, keepdim=True)
        noise *= lengths / noise.norm(dim=-1, keepdim=True)
        layers, tokens = [], []
        for layer, path in enumerate(paths):
            length = float(lengths[layer])
            layers.append(LensLayer(layer, length * count / self.lengths[path]))
            if length:
                for reading, direction in ((STATES, means[layer]), (RANDOM, noise[layer])):
                    tokens += self._read(reading, direction, layer)
        return tuple(layers), tokens

    def _read(self, reading: str, direction: Tensor, layer: int) -> list[LensToken]:
        assert isinstance(self.readout, Readout)  # asked only with one
        values, ids = self._allowed(self.readout.logits(direction[None])[0]).topk(SHOWN)
        texts = [shown(self.tokenizer.decode([i])) for i in ids.tolist()]
        found = [
            (text, text.strip(), value) for text, value in zip(texts, values.tolist(), strict=True)
        ]
        return ranked(reading, found, layer)

    def _allowed(self, scores: Tensor) -> Tensor:
        """Scores [V] without tokens that are no text: special ones, and those without a text."""
        kept = torch.where(scores.isnan(), -torch.inf, scores)
        kept[len(self.tokenizer) :] = -torch.inf
        special = {*special_ids(self.tokenizer), *self.variant.form.stop_ids}
        kept[[i for i in special if i < len(kept)]] = -torch.inf
        return kept
