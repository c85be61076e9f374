"""φ, angles, amplification of live adapters, against dense float64 of what the layers compute."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from torch import Tensor, nn

from lora_magic.adapters.read_shapes import shape_of
from lora_magic.errors import AdapterError, CommandError, LoraMagicError
from lora_magic.state import similarity as comparing
from lora_magic.state.session import Session
from tests.adapters.shared import VARIANTS, moved
from tests.classifiers import closing_tokenizer, tiny_classifier
from tests.conftest import perturb
from tests.tiny import tiny_model, tiny_tokenizer

#: What has no ΔW, or none without biases in the base.
WITHOUT = ("prefix", "prompt", "houlsby", "adapter-l", "bitfit")


@pytest.fixture
def two(session: Session) -> Session:
    """ "one" of rank 2 and "two" of rank 3 on q and v, neither of them ΔW = 0."""
    for seed, name in enumerate(("one", "two")):
        session.attach(name, rank=2 + seed, targets="q_proj,v_proj")
        perturb(session, name, 0.3, seed=seed)
    return session


def shown_matrix(layer: nn.Module, original: nn.Module) -> Tensor:
    """The matrix [d, k] of a layer, in float64, read off its outputs."""
    layer, eye = layer.double(), torch.eye(shape_of(original)[1], dtype=torch.float64)
    if isinstance(original, nn.Embedding):
        outputs: Tensor = layer(torch.arange(original.num_embeddings))
    else:
        outputs = layer(eye) - layer(torch.zeros_like(eye))
    return outputs.detach().mT


def deltas(session: Session, name: str) -> dict[str, Tensor]:
    """ΔW of every matrix, from the outputs of its layer and of the base's module alone."""
    attached = session._state.attached[name]
    found = {}
    for path, layer in attached.replacements.items():
        original: Any = attached.originals[path]
        if original.weight.dim() == 2:
            found[path] = shown_matrix(layer, original) - shown_matrix(original, original)
    return found


def phi_of(one: Tensor, other: Tensor, i: int, j: int) -> float:
    """The formula of section 7.2 for singular vectors as columns."""
    return float((one[:, :i].mT @ other[:, :j]).square().sum()) / min(i, j)


def separated(delta: Tensor) -> int:
    """How many leading directions are unique and no rounding: their σ differ by a thousandth."""
    sigma = torch.linalg.svdvals(delta)
    gaps = (sigma[:-1] - sigma[1:]) / sigma[0]
    close = (gaps < 1e-3).nonzero().flatten()
    return min(int(close[0]) if len(close) else len(sigma), 8)


#: GPT-2 has Conv1D with biases, the other linear layers without.
ADAPTED = [("gpt2", v) for v in (*VARIANTS, "embedding") if v not in WITHOUT]
ADAPTED += [("llama", v) for v in ("lora", "dora", "pissa", "adalora", "ia3", "full")]


@pytest.mark.parametrize(("architecture", "variant"), ADAPTED)
def test_phi_is_that_of_what_the_layers_compute(architecture: str, variant: str) -> None:
    session = Session()
    session.use(tiny_model(architecture), tiny_tokenizer())
    flags: dict[str, Any] = dict(VARIANTS.get(variant, {"rank": 4}))
    usual = "wte" if variant == "embedding" else "attention"
    for seed, name in enumerate(("one", "two")):
        if "method" not in flags:
            flags["targets"] = usual
        session.attach(name, **flags, seed=seed)
        moved(session._state.attached[name], 0.3, seed=seed)
    found = {side: session.similarity("one,two", side=side) for side in ("inputs", "outputs")}
    first, second = deltas(session, "one"), deltas(session, "two")
    compared = 0
    for side, place in (("inputs", 2), ("outputs", 0)):
        for one in found[side].overlaps:
            d1, d2 = first[one.module], second[one.module]
            u1, u2 = (torch.linalg.svd(d)[place] for d in (d1, d2))
            u1, u2 = (u.mT if place == 2 else u for u in (u1, u2))
            for i in range(1, min(separated(d1), len(one.phi)) + 1):
                for j in range(1, min(separated(d2), len(one.phi[0])) + 1):
                    assert one.phi[i - 1][j - 1] == pytest.approx(phi_of(u1, u2, i, j), abs=1e-6)
                    assert one.chance(i, j) == max(i, j) / d1.shape[1 if place == 2 else 0]
                    compared += 1
            cosine = float((d1 * d2).sum() / d1.norm() / d2.norm())
            assert one.cosine == pytest.approx(cosine, abs=1e-6)
            assert one.degrees == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-4)
    assert compared > 0
    session.reset()


def test_phi_of_a_and_b_is_that_of_the_factors_themselves(two: Session) -> None:
    states = [dict(two._state.attached[name].tensors()) for name in ("one", "two")]
    for side, part, place in (("A", "lora_A", 2), ("B", "lora_B", 0)):
        record = two.similarity("one,two", side=side)
        for one in record.overlaps:
            key = next(key for key in states[0] if key.startswith(f"{one.module}.{part}"))
            vectors = [
                torch.linalg.svd(state[key].detach().double(), full_matrices=False)[place]
                for state in states
            ]
            u1, u2 = (v.mT if place == 2 else v for v in vectors)
            for i, j in ((1, 1), (1, 3), (2, 3)):
                assert one.phi[i - 1][j - 1] == pytest.approx(phi_of(u1, u2, i, j), abs=1e-6)


def test_a_whole_subspace_overlaps_that_of_its_copy_fully(two: Session) -> None:
    two.blend("copy", "one=1")
    record = two.similarity("one", "copy")
    assert [one.phi[-1][-1] for one in record.overlaps] == pytest.approx([1.0] * 4, abs=1e-6)
    assert record.degrees("one", "copy") == pytest.approx(0, abs=0.05)
    two.blend("opposite", "one=-2")
    opposed = two.similarity("one,opposite")
    assert opposed.degrees("one", "opposite") == pytest.approx(180, abs=0.05)
    assert [one.phi[-1][-1] for one in opposed.overlaps] == pytest.approx([1.0] * 4, abs=1e-6)


def test_the_angle_of_two_adapters_is_that_of_all_their_entries(two: Session) -> None:
    record = two.similarity("one,two")
    first, second = (
        torch.cat([d.flatten() for d in deltas(two, name).values()]) for name in ("one", "two")
    )
    cosine = float(first @ second / first.norm() / second.norm())
    assert record.degrees("one", "two") == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-4)


def test_amplification_is_table_7_of_dense_matrices(two: Session) -> None:
    rows = two.similarity("two").amplification()
    weights = dict(two.model.named_modules())
    with two._state.slots.using({}):
        weights = {path: two.model.get_submodule(path).weight.double() for path in rows["module"]}
    for row in rows.to_dict("records"):
        delta, weight = deltas(two, "two")[row["module"]], weights[row["module"]]
        u, sigma, vh = torch.linalg.svd(delta)
        assert row["rank"] == 3
        inside = float((u[:, :3].mT @ weight @ vh[:3].mT).norm())
        assert row["in_change"] == pytest.approx(inside, rel=1e-6)
        assert row["in_own"] == pytest.approx(float(torch.linalg.svdvals(weight)[:3].norm()))
        assert row["in_random"] == pytest.approx(
            3 * float(weight.norm()) / math.sqrt(weight.numel()), rel=1e-6
        )
        assert row["change"] == pytest.approx(float(sigma.norm()), rel=1e-6)
        assert row["weight"] == pytest.approx(float(weight.norm()), rel=1e-6)
        assert row["factor"] == pytest.approx(row["change"] / row["in_change"])


def test_intruders_are_those_of_the_definition(two: Session) -> None:
    perturb(two, "two", 6.0)
    record = two.similarity("two")
    with two._state.slots.using({}):
        for one in record.intruding:
            weight = two.model.get_submodule(one.module).weight.double()
            u = torch.linalg.svd(weight + deltas(two, "two")[one.module])[0][:, :10]
            own = torch.linalg.svd(weight)[0]
            cosines = (u.mT @ own).abs().amax(1)
            assert one.cosines == pytest.approx(cosines.tolist(), abs=1e-5)
            assert one.places == tuple((cosines < 0.5).nonzero().flatten().tolist())
    frame = record.intruders()
    assert frame["intruder"].sum() == sum(len(one.places) for one in record.intruding)


def test_of_an_update_of_zero_nothing_is_a_number(two: Session) -> None:
    two.attach("fresh", rank=2, targets="q_proj,v_proj")
    record = two.similarity("one,fresh")
    assert len(record.to_frame()) == 0
    for frame in (record.summary(), record.angles(), record.amplification()):
        cells = [cell for row in frame.itertuples() for cell in row]
        assert None in cells
        assert not any(isinstance(cell, float) and math.isnan(cell) for cell in cells)
    assert set(record.summary()["note"]) == {"ΔW = 0"}
    assert "n/a" in record.line
    made = record._repr_mimebundle_()
    for text in map(str, made.values()):
        assert "n/a" in text
        assert "nan" not in text.lower().split()
    alone = two.similarity("fresh")
    assert set(alone.amplification()["factor"]) == {None}
    assert [one.places for one in alone.intruding] == [()] * 4


def test_adapters_from_one_seed_and_so_one_a_bring_a_warning(two: Session) -> None:
    for name in ("left", "right"):
        two.attach(name, rank=2, targets="q_proj,v_proj", seed=7)
        perturb(two, name, seed=len(name))
    warned = [note for note in two.similarity("left,right").notes if "same A" in note]
    assert len(warned) == 1
    assert "--seed" in warned[0]
    two.attach("other", rank=2, targets="q_proj,v_proj", seed=8)
    perturb(two, "other")
    assert not two.similarity("left,other").notes
    # All pairs are looked at.
    assert len([n for n in two.similarity("other,left,right").notes if "same A" in n]) == 1


def test_adapters_made_from_one_are_not_told_to_take_another_seed(two: Session) -> None:
    two.compress("two", "small", rank=1)
    two.compress("two", "middle", rank=2)
    (warned,) = (note for note in two.similarity("small,middle").notes if "same A" in note)
    assert "--seed" not in warned


def test_adapters_opened_from_folders_are_known_by_the_seed_on_their_cards(
    two: Session, tmp_path: Path
) -> None:
    for name in ("left", "right"):
        two.attach(name, rank=2, targets="q_proj,v_proj", seed=7)
        perturb(two, name, seed=len(name))
        moved(two._state.attached[name], seed=len(name))
        two.save(name, tmp_path / name)
        two.detach(name)
        two.open(tmp_path / name, name)
    assert any("same A" in note for note in two.similarity("left,right").notes)
    assert not two.similarity("left,one").notes


def test_a_start_from_w_itself_is_the_same_start_at_another_rank(session: Session) -> None:
    for rank in (2, 3):
        session.attach(f"p{rank}", rank=rank, init="pissa", targets="q_proj")
        moved(session._state.attached[f"p{rank}"], seed=rank)
    assert any("same A" in note for note in session.similarity("p2,p3").notes)


def test_of_more_than_two_every_pair_is_compared(two: Session) -> None:
    two.blend("mixed", "one=0.5 two=0.5")
    record = two.similarity("one,two,mixed")
    assert record.pairs == (("one", "two"), ("one", "mixed"), ("two", "mixed"))
    assert [len(record.of_pair(*pair)) for pair in record.pairs] == [4, 4, 4]
    alone = two.similarity("one,mixed")
    assert record.of_pair("one", "mixed") == list(alone.overlaps)


def test_of_different_targets_the_common_modules_are_compared(two: Session) -> None:
    two.attach("wide", rank=2, targets="k_proj,v_proj")
    perturb(two, "wide")
    record = two.similarity("one,wide")
    assert {one.module.rpartition(".")[2] for one in record.overlaps} == {"v_proj"}
    assert "2 modules that only one adapts: left out of φ" in record.notes
    # What only one of them has is amplified all the same.
    assert len(record.amplified) == 8


def test_beyond_64_directions_the_first_are_compared_and_that_is_said(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "FIRST", 5)
    for name in ("one", "two"):
        session.attach(name, method="ia3")
        moved(session._state.attached[name], seed=len(name))
    session.attach("low", rank=2, targets="k_proj")
    perturb(session, "low", 0.3)
    record = session.similarity("one,low", module="k_proj")
    assert record.overlaps[0].last == (5, 2)
    assert record.overlaps[0].counts[0] > 5
    assert any("first 5 of" in note for note in record.notes)


def test_many_pairs_are_cut_to_fewer_directions(
    two: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "VALUES", 4)
    record = two.similarity("one,two")
    assert {one.last for one in record.overlaps} == {(1, 1)}
    assert record.overlaps[0].counts == (2, 3)
    assert "φ of the first 1 of 3 directions" in record.notes


def test_work_that_takes_too_long_is_left_out_and_said(
    two: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "WORK", 0.0)
    record = two.similarity("one")
    assert len(record.amplified) == 1
    assert not record.intruding
    assert any("amplification of 1 of 4 modules" in note for note in record.notes)
    named = two.similarity("one", module="1.v_proj")
    assert [one.module for one in named.amplified] == ["model.layers.1.self_attn.v_proj"]
    assert len(named.notes) == 1
    assert "%lora spectrum one --module" in named.notes[0]


def test_a_classifiers_head_has_no_factors_and_is_left_out_of_them() -> None:
    session = Session()
    session.use(tiny_classifier("bert"), closing_tokenizer())
    for seed, name in enumerate(("one", "two")):
        session.attach(name, rank=2, targets="query")
        moved(session._state.attached[name], seed=seed)
    whole, of_a = (session.similarity("one,two", side=side) for side in ("inputs", "A"))
    assert {one.module for one in of_a.overlaps} < {one.module for one in whole.overlaps}
    session.reset()


MISTAKES: list[tuple[Any, str]] = [
    (lambda s: s.similarity("one,one"), "one is named twice"),
    (lambda s: s.similarity("one", "one"), "%lora similarity one"),
    (lambda s: s.similarity("one,tow"), "Did you mean 'two'"),
    (lambda s: s.similarity("one,"), "a name is blank"),
    (lambda s: s.similarity("base"), "base is not an adapter"),
    (lambda s: s.similarity("one,two", side="left"), "expected one of inputs, outputs, A, B"),
    (lambda s: s.similarity("one,two", side=3), "--side 3"),
    (lambda s: s.similarity("one,two", module="o_proj"), "--module o_proj"),
    (lambda s: s.similarity("one,keys"), "no module in common"),
    (lambda s: s.similarity("one,scaled", side="A"), "its sides are inputs and outputs"),
    (lambda s: s.similarity("one,virtual"), "has no directions of ΔW"),
    (lambda s: s.similarity("one,diverged"), "not finite"),
    (lambda s: s.similarity("one,two").at(3, 1), "i from 1 to 2 and j from 1 to 3"),
    (lambda s: s.similarity("one,two").at(1, 4), "i from 1 to 2 and j from 1 to 3"),
    (lambda s: s.similarity("one,two").at(0, 1), "expected i from 1"),
    (lambda s: s.similarity("one,two").at(1.5, 1), "expected i from 1"),
    (lambda s: s.similarity("one").at(1, 1), "name two adapters"),
]


@pytest.fixture(scope="module")
def mistaken(saved_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session with adapters that can be compared and adapters that cannot."""
    session = Session()
    session.load(str(saved_model()))
    for name, flags in (
        ("one", {"rank": 2, "targets": "q_proj,v_proj"}),
        ("two", {"rank": 3, "targets": "q_proj,v_proj"}),
        ("keys", {"rank": 2, "targets": "k_proj"}),
        ("scaled", {"method": "ia3"}),
        ("virtual", {"method": "prefix"}),
        ("diverged", {"rank": 2, "targets": "q_proj,v_proj"}),
    ):
        session.attach(name, **flags)
        perturb(session, name, math.inf if name == "diverged" else 0.3, seed=len(name))
    yield session
    session.reset()


@pytest.mark.parametrize(("mistake", "said"), MISTAKES)
def test_mistakes_are_one_line_with_a_way_out(mistaken: Session, mistake: Any, said: str) -> None:
    with pytest.raises(LoraMagicError) as caught:
        mistake(mistaken)
    assert isinstance(caught.value, (AdapterError, CommandError))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_at_gives_the_rows_of_one_place(mistaken: Session) -> None:
    record = mistaken.similarity("one,two")
    found = record.at(2, 3)
    whole = record.to_frame()
    expected = whole[(whole["i"] == 2) & (whole["j"] == 3)].reset_index(drop=True)
    pandas.testing.assert_frame_equal(found, expected)
    assert len(found) == 4
