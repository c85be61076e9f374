"""compress --remove-intruders in a session: what PEFT makes of a saved adapter, and the report."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lora_magic.errors import AdapterError, LoraMagicError
from lora_magic.state.removing import Removal
from lora_magic.state.session import Session
from tests.adapters.shared import moved
from tests.classifiers import closing_tokenizer, tiny_classifier
from tests.conftest import Saver, logits, perturb
from tests.state.shared import ROWS, snapshot

#: Plain PEFT: opens the saved adapter on the saved base, and reduces its intruders.
BY_PEFT = """
import json, sys
from peft import PeftModel
from peft.tuners.lora.intruders import reduce_intruder_dimension
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
base, adapter, out = sys.argv[1:]
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
said = []
reduce_intruder_dimension(model, logging_sink=said.append)
layers = {
    name.removeprefix("base_model.model."): module
    for name, module in model.named_modules()
    if hasattr(module, "lora_A")
}
deltas = {n: m.get_delta_weight("intruder_reduced").detach() for n, m in layers.items()}
save_file({n: d.contiguous() for n, d in deltas.items()}, out)
counts = {}
for line in said:
    name, _, rest = line.partition(": ")
    if name.startswith("base_model"):
        counted = rest.partition("Intruders: ")[2]
        counts[name.removeprefix("base_model.model.")] = int(counted or 0)
print(json.dumps(counts))
"""


@pytest.fixture
def large(session: Session) -> Session:
    """ "one" with a ΔW large enough to have intruders, on q and v."""
    session.attach("one", rank=3, alpha=12, targets="q_proj,v_proj")
    perturb(session, "one", 0.4)
    return session


def test_the_new_adapter_is_that_of_plain_peft_in_another_process(
    saved_model: Saver, tmp_path: Path
) -> None:
    pytest.importorskip("peft.tuners.lora.intruders")
    base = str(saved_model(initializer_range=0.3))
    session = Session()
    session.load(base)
    session.attach("one", rank=3, alpha=12, targets="all-linear")
    perturb(session, "one", 1.0)
    # Some modules have none.
    with torch.no_grad():
        for name, tensor in session._state.attached["one"].tensors():
            if "o_proj.lora_B" in name:
                tensor.mul_(0.01)
    session.save("one", tmp_path / "one")
    record = session.compress("one", remove_intruders=True)
    assert isinstance(record, Removal)
    command = [sys.executable, "-c", BY_PEFT, base, str(tmp_path / "one"), str(tmp_path / "out")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = {row.module: row.found for row in record.modules}
    assert counts == json.loads(told.stdout)
    assert min(counts.values()) == 0
    assert record.removed > 5
    expected = load_file(tmp_path / "out")
    for path, update in session._state.attached[record.new].updates().items():
        theirs = expected[path].double()
        # PEFT decomposes in float32.
        assert float((update.dense(torch.float64) - theirs).norm() / theirs.norm()) < 1e-4
    session.reset()


def test_the_report_is_what_the_new_adapter_is(large: Session) -> None:
    before = large._state.attached["one"].updates()
    record = large.compress("one", "less", remove_intruders=True, text=ROWS)
    assert isinstance(record, Removal)
    assert record.removed > 0
    after = large._state.attached["less"].updates()
    for row in record.modules:
        old, new = before[row.module].dense(torch.float64), after[row.module].dense(torch.float64)
        error = float((old - new).norm() / old.norm())
        assert row.error == pytest.approx(error, abs=1e-6)
        assert (row.found == 0) == (error < 1e-6)
        weight = large._state.slots.original(row.module).weight.double()
        assert row.relative_norm == pytest.approx(float(old.norm() / weight.norm()))
    found = large.evaluate("one,less", text=ROWS, max_new_tokens=1)
    losses = {mean.adapter: mean.value for mean in found.means if mean.metric == "loss"}
    assert record.loss is not None
    assert (record.loss.base, record.loss.before, record.loss.after) == pytest.approx(
        (losses["base"], losses["one"], losses["less"]), abs=1e-5
    )
    pair = next(p for p in found.pairs if p.metric == "loss" and p.first == "less")
    assert (record.loss.low, record.loss.high) == pytest.approx((-pair.high, -pair.low), abs=1e-5)
    assert record.forgotten is not None
    assert [kind.base_loss for kind in record.forgotten] == [record.forgotten[0].base_loss] * 2
    assert "equal loss" in record.line
    assert "on 2 rows" in record.line
    assert large.active == "one"
    assert large.verify()


def test_a_small_update_has_none_and_the_new_adapter_is_the_same(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", 1e-4)
    record = session.compress(remove_intruders=True)
    assert isinstance(record, Removal)
    assert record.removed == record.left == 0
    assert "no intruder dimension" in record.line
    expected = logits(session)
    session.swap("one_no_intruders")
    assert torch.allclose(logits(session), expected, atol=1e-6)


def test_a_conv1d_is_taken_as_outputs_by_inputs(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model("gpt2")))
    session.attach("one", rank=2, targets="c_attn")
    perturb(session, "one", 1.0)
    before = session._state.attached["one"].updates()
    record = session.compress("one", "less", remove_intruders=True)
    assert isinstance(record, Removal)
    after = session._state.attached["less"].updates()
    for row in record.modules:
        weight = session._state.slots.original(row.module).weight.double().mT
        delta = before[row.module].dense(torch.float64)
        u, sigma, vh = torch.linalg.svd(weight + delta, full_matrices=False)
        own = torch.linalg.svd(weight, full_matrices=False)[0]
        new = ((u[:, :10].mT @ own).abs().amax(1) < 0.5).nonzero().flatten()
        assert row.found == len(new)
        left = delta - 0.25 * (u[:, new] * sigma[new]) @ vh[new]
        cut = [part[..., :2] for part in torch.linalg.svd(left)[:2]]
        expected = cut[0] @ torch.diag(cut[1]) @ torch.linalg.svd(left)[2][:2]
        found = after[row.module].dense(torch.float64)
        assert float((found - expected).norm() / expected.norm()) < 1e-5
    session.reset()


def test_biases_and_norms_are_copied(session: Session) -> None:
    session.attach("one", rank=2, norms=True)
    moved(session._state.attached["one"], 0.3)
    session.compress("one", "less", remove_intruders=True)
    one, less = (session._state.attached[name].trainable_copies() for name in ("one", "less"))
    assert one.keys() == less.keys()
    assert one
    for path, copy in one.items():
        for key, value in copy.values.items():
            assert torch.equal(less[path].values[key], value)


def test_running_it_again_gives_the_same_adapter(large: Session) -> None:
    first = large.compress("one", remove_intruders=True)
    kept = large._state.attached["one_no_intruders"]
    again = large.compress("one", remove_intruders=True)
    assert large._state.attached["one_no_intruders"] is kept
    assert first.to_frame().equals(again.to_frame())
    # What changed nothing is not in the ledger.
    done = large.history().to_frame()
    assert list(done["adapter"][done["verb"] == "compress"]) == ["one_no_intruders"]


MISTAKES: list[tuple[Any, str]] = [
    (lambda s: s.compress("one", remove_intruders=True, rank=2), "keeps the rank"),
    (lambda s: s.compress("one", remove_intruders=True, energy=0.9), "keeps the rank"),
    (lambda s: s.compress("dora", remove_intruders=True), "%lora compress dora --rank 8"),
    (lambda s: s.compress("scaled", remove_intruders=True), "not a product of factors"),
    (lambda s: s.compress("virtual", remove_intruders=True), "cannot be freed of intruders"),
    (lambda s: s.compress("fresh", remove_intruders=True), "not trained yet"),
    (lambda s: s.compress("none", remove_intruders=True), "no adapter 'none'"),
    (lambda s: s.compress("one", "fresh", remove_intruders=True), "already attached"),
    (lambda s: s.compress("one", "a b", remove_intruders=True), "--remove-intruders"),
    (lambda s: s.compress("one", remove_intruders=True, rows=2), "--data"),
    (lambda s: s.compress("one", remove_intruders=True, skip_bad=True), "--data"),
    (lambda s: s.compress("one", remove_intruders=True, text=ROWS, rows=0), "--rows 0"),
    (lambda s: s.compress("one", remove_intruders=True, data=[]), "the data is empty"),
    (lambda s: s.compress("one", remove_intruders=True, data=[("a", "")]), "no row has a"),
    (lambda s: s.compress("one", remove_intruders=True, budget="x"), "keeps the rank"),
]


@pytest.fixture(scope="module")
def mistaken(saved_model: Saver) -> Iterator[Session]:
    """A session with adapters that have intruders, none, or no factors."""
    session = Session()
    session.load(str(saved_model()))
    for name, flags in (
        ("fresh", {"rank": 2}),
        ("dora", {"rank": 2, "dora": True}),
        ("scaled", {"method": "ia3"}),
        ("virtual", {"method": "prefix"}),
        ("one", {"rank": 3, "alpha": 12, "targets": "q_proj,v_proj"}),
    ):
        session.attach(name, **flags)
        if name != "fresh":
            moved(session._state.attached[name], 0.4)
    yield session
    session.reset()


@pytest.mark.parametrize(("mistake", "said"), MISTAKES)
def test_a_mistake_leaves_everything_as_it_was(mistaken: Session, mistake: Any, said: str) -> None:
    before = snapshot(mistaken)
    with pytest.raises(LoraMagicError) as caught:
        mistake(mistaken)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(mistaken) == before


def test_it_is_refused_while_something_is_merged(large: Session) -> None:
    large.merge("one")
    with pytest.raises(LoraMagicError, match="unmerge"):
        large.compress("one", remove_intruders=True)


def test_an_interrupt_attaches_nothing(large: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lora_magic.state.forgetting.measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        large.compress("one", remove_intruders=True)
    assert list(large.adapters) == ["one"]
    assert large.active == "one"


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_ending_it_by_watch_attaches_nothing(large: Session, calls: int) -> None:
    before, said = snapshot(large), []

    def watch(line: Any) -> bool:
        said.append(line())
        return len(said) >= calls

    with pytest.raises(KeyboardInterrupt):
        large.compress("one", text=ROWS, remove_intruders=True, watch=watch)
    assert "measuring one and one_no_intruders" in said[0]
    assert snapshot(large) == before


def test_of_a_classifier_the_loss_is_measured_and_no_forgetting() -> None:
    session = Session()
    session.use(tiny_classifier("bert"), closing_tokenizer())
    labels = session._state.base.task.labels
    session.attach("one", rank=2)
    moved(session._state.attached["one"], 0.5)
    rows = [("The fox", labels[0]), ("The sea", labels[1])]
    record = session.compress("one", remove_intruders=True, data=rows)
    assert isinstance(record, Removal)
    assert record.forgotten is None
    assert record.loss is not None
    session.reset()


def test_an_error_names_what_has_no_factors(session: Session) -> None:
    session.attach("whole", method="full")
    moved(session._state.attached["whole"])
    with pytest.raises(AdapterError, match="not a product of factors"):
        session.compress("whole", remove_intruders=True)
