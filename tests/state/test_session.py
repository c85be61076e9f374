"""The session's rules: a cell can run twice, a failed verb changes nothing, the base is sacred."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

import lora_magic
from lora_magic.errors import (
    AdapterError,
    BaseModelError,
    DataError,
    LoraMagicError,
    PromptError,
    StateError,
)
from lora_magic.state.session import Session
from tests.conftest import Saver, logits, perturb
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

ROWS = "Where is the library? => Arr!\nWhat is for dinner? => Fish, matey!"


def snapshot(session: Session) -> dict[str, object]:
    """Everything that a failed verb must leave as it was."""
    model = session.model
    return {
        "tree": dict(model.named_modules()),
        "flags": {name: p.requires_grad for name, p in model.named_parameters()},
        "training": {name: m.training for name, m in model.named_modules()},
        "hooks": {name: dict(m._forward_hooks) for name, m in model.named_modules()},
        "attributes": set(vars(model)),
        "config": model.config.to_dict(),
        "active": session.active,
        "merged": session.merged,
        "adapters": dict(session.adapters),
        "weights": {
            name: [t.tolist() for t in attached.state().values()]
            for name, attached in session._held.attached.items()
        },
    }


# Loading


def test_the_same_load_is_instant_and_keeps_the_adapters(
    session: Session, saved_model: Saver
) -> None:
    session.attach("one", rank=2)
    model = session.model
    session.load(str(saved_model()))
    assert session.model is model
    assert list(session.adapters) == ["one"]


def test_another_load_is_refused_while_a_trained_adapter_is_unsaved(
    session: Session, saved_model: Saver
) -> None:
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=1)
    other = str(saved_model("gpt2"))
    before = snapshot(session)
    with pytest.raises(StateError, match=r"one is trained and not saved.*--replace"):
        session.load(other)
    assert snapshot(session) == before
    session.save("one")
    session.load(other)
    assert type(session.model).__name__ == "GPT2LMHeadModel"
    assert dict(session.adapters) == {}


def test_a_failed_load_leaves_the_base_that_was_there(session: Session) -> None:
    session.attach("one", rank=2)
    before = snapshot(session)
    with pytest.raises(BaseModelError):
        session.load("./nowhere")
    assert snapshot(session) == before


def test_model_is_the_very_object_that_was_given_and_comes_back_as_it_was() -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer()
    model.train()
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    tree = dict(model.named_modules())
    session = Session()
    session.use(model, tokenizer)
    session.attach("one", rank=2)
    assert session.model is model
    session.reset()
    session.reset()
    assert dict(model.named_modules()) == tree
    assert {name: p.requires_grad for name, p in model.named_parameters()} == wanted
    assert all(module.training for module in model.modules())
    with pytest.raises(StateError, match="%lora load demo"):
        _ = session.model


def test_a_peft_model_is_adopted_with_its_adapters() -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    wrapped = get_peft_model(tiny_model(), config, adapter_name="mine").eval()
    wrapped.add_adapter("other", LoraConfig(r=3, target_modules="all-linear"))
    ids = torch.arange(10, 26)[None]
    with torch.no_grad():
        expected = wrapped(input_ids=ids).logits
    session = Session()
    session.use(wrapped, tiny_tokenizer())
    assert list(session.adapters) == ["mine", "other"]
    assert session.active == "mine"
    assert torch.equal(logits(session), expected)
    session.swap("base")
    with torch.no_grad():
        assert torch.equal(logits(session), tiny_model()(ids).logits)


def test_reset_gives_a_peft_model_back_with_its_layers_and_what_they_learned() -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    wrapped = get_peft_model(tiny_model(), config).eval()
    ids = torch.arange(10, 26)[None]
    with torch.no_grad():
        expected = wrapped(input_ids=ids).logits
    trainable = [name for name, p in wrapped.named_parameters() if p.requires_grad]
    session = Session()
    session.use(wrapped, tiny_tokenizer())
    assert session.adapters["default"].history.words == "trained elsewhere"
    session.train("default", text=ROWS, steps=1)
    session.swap("base")
    session.reset()
    with torch.no_grad():
        assert torch.equal(wrapped(input_ids=ids).logits, expected)
    assert [name for name, p in wrapped.named_parameters() if p.requires_grad] == trainable
    session.use(wrapped, tiny_tokenizer())
    assert torch.equal(logits(session), expected)


@pytest.mark.parametrize("tokenizer", [5, "broken template"])
def test_a_use_that_fails_leaves_session_and_model_as_they_were(
    session: Session, tokenizer: object
) -> None:
    session.attach("one", rank=2)
    before = snapshot(session)
    if tokenizer == "broken template":
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = "{{ raise_exception('no') }}"  # type: ignore[attr-defined]
    model = tiny_model()
    wrapped = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["q_proj"]))
    layers = [type(module) for module in wrapped.modules()]
    model.train()
    for given in (model, wrapped, session.model):
        with pytest.raises((BaseModelError, PromptError)):
            session.use(given, tokenizer, replace=True)
    assert snapshot(session) == before
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert [type(module) for module in wrapped.modules()] == layers


def test_reset_says_what_was_lost_and_what_was_changed_from_outside(session: Session) -> None:
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=1)
    with torch.no_grad():
        session.model.lm_head.weight.add_(1)
    told = session.reset().line
    assert "CHANGED from outside the session in 1 tensors" in told
    assert "trained and not saved: one" in told


def test_the_same_targets_in_another_order_are_the_same_spec(session: Session) -> None:
    first = session.attach("one", rank=2, targets="q_proj,v_proj")
    assert session.attach("one", rank=2, targets=["v_proj", "q_proj"]) == first


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.ask(5),
        lambda s: s.compare(5),
        lambda s: s.compare("a", adapters=5),
        lambda s: s.compare("a", adapters=[]),
        lambda s: s.ask("hi", temperature="hot"),
        lambda s: s.ask("hi", seed=10**20),
        lambda s: s.ask("hi", max_new_tokens="x"),
        lambda s: s.attach(5),
        lambda s: s.attach("two", targets=["q_proj", 3]),
        lambda s: s.attach("two", seed="x"),
        lambda s: s.swap(None),
        lambda s: s.merge(3),
        lambda s: s.open(5),
        lambda s: s.save("one", 5),
        lambda s: s.save("one", " "),
        lambda s: s.train("one", text=ROWS, steps="x"),
        lambda s: s.train("one", data=["a"], text=ROWS),
        lambda s: s.ratio(rank=9999, targets="q_proj"),
    ],
)
def test_a_wrong_type_is_one_line_and_changes_nothing(
    session: Session, wrong: Callable[[Session], object]
) -> None:
    session.attach("one", rank=2)
    before = snapshot(session)
    with pytest.raises(LoraMagicError) as seen:
        wrong(session)
    assert "\n" not in str(seen.value)
    assert snapshot(session) == before


def test_a_list_of_prompts_is_compared_as_so_many_prompts(session: Session) -> None:
    session.attach("one", rank=2)
    found = session.compare(["Hello", "Good day"], max_new_tokens=2)
    assert found.to_frame().prompt.unique().tolist() == ["Hello", "Good day"]


def test_a_tokenizer_of_another_model_is_told_before_anything_runs() -> None:
    session = Session()
    session.use(tiny_model(vocab_size=64), tiny_tokenizer())
    session.attach("one", rank=2)
    for verb in (
        lambda: session.ask("Where?"),
        lambda: session.compare("Where?"),
        lambda: session.train("one", text=ROWS),
    ):
        with pytest.raises(PromptError, match=r"token \d+, but the model knows 64"):
            verb()


def test_an_adapter_that_has_diverged_is_not_merged(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", size=float("nan"))
    with pytest.raises(AdapterError, match="NaN or infinity, so it is not merged"):
        session.merge()
    assert session.merged is None
    assert session.verify()


def test_a_merged_peft_model_and_an_injected_one_are_refused() -> None:
    wrapped = get_peft_model(tiny_model(), LoraConfig(target_modules=["q_proj"]))
    inner = wrapped.get_base_model()
    session = Session()
    with pytest.raises(BaseModelError, match="already carries adapter layers"):
        session.use(inner)
    wrapped.merge_adapter()
    with pytest.raises(BaseModelError, match="merged"):
        session.use(wrapped)


# Attaching and swapping


def test_attach_twice_returns_the_same_and_another_spec_is_refused(session: Session) -> None:
    first = session.attach("one", rank=2)
    perturb(session, "one")
    weights = session._held.attached["one"].state()
    assert session.attach("one", rank=2) == first
    with pytest.raises(AdapterError, match=r"rank 2, asked for 4.*--replace"):
        session.attach("one", rank=4)
    assert all(torch.equal(weights[k], v) for k, v in session._held.attached["one"].state().items())
    assert session.attach("one", rank=4, replace=True).spec.rank == 4
    assert torch.equal(logits(session), logits_of(session, "base"))


def logits_of(session: Session, name: str) -> torch.Tensor:
    session.swap(name)
    return logits(session)


def test_the_seed_comes_from_the_name(session: Session) -> None:
    one, two = session.attach("one", rank=2), session.attach("two", rank=2)
    assert one.spec.seed != two.spec.seed


def test_swapping_is_exact_in_any_order(session: Session) -> None:
    expected = {"base": logits(session)}
    for seed, name in enumerate(["one", "two", "three"]):
        session.attach(name, rank=2 + seed)
        perturb(session, name, seed=seed)
        expected[name] = logits(session)
    order = torch.randint(0, 4, (60,), generator=torch.Generator().manual_seed(0)).tolist()
    for index in order:
        name = list(expected)[index]
        assert torch.equal(logits_of(session, name), expected[name])
    assert session.verify()


def test_detaching_the_active_one_leaves_base(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session.detach("one")
    assert session.active == "base"
    with torch.no_grad():
        assert torch.equal(logits(session), tiny_model()(torch.arange(10, 26)[None]).logits)


# Training


def test_a_training_cell_run_twice_ends_with_the_same_weights(session: Session) -> None:
    session.attach("one", rank=2, dropout=0.1)
    session.train("one", text=ROWS, steps=3)
    first = session._held.attached["one"].state()
    session.train("one", text=ROWS, steps=3)
    again = session._held.attached["one"].state()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert session.adapters["one"].history.steps == 3
    session.train("one", text=ROWS, steps=3, more=True)
    assert session.adapters["one"].history.steps == 6
    assert any(
        not torch.equal(first[k], v) for k, v in session._held.attached["one"].state().items()
    )
    assert session.verify()


def test_training_leaves_the_model_as_it_was(session: Session) -> None:
    session.attach("one", rank=2)
    before = snapshot(session)
    session.train("one", text=ROWS, steps=2)
    after = snapshot(session)
    for key in ("tree", "flags", "training", "hooks", "attributes", "config", "merged", "active"):
        assert after[key] == before[key], key


def test_training_one_adapter_moves_no_other(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session.attach("two", rank=2)
    before = session._held.attached["one"].state()
    session.train("two", text=ROWS, steps=2)
    assert all(torch.equal(before[k], v) for k, v in session._held.attached["one"].state().items())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_in_the_middle_of_training_gives_the_weights_back(
    error: type[BaseException], session: Session
) -> None:
    session.attach("two", rank=2)
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=2)
    session.swap("two")

    class Failing:
        def start(self, plan: object) -> None: ...
        def finish(self, summary: object) -> None: ...
        def step(self, point: object) -> None:
            raise error("in the middle")

    before = snapshot(session)
    with pytest.raises(error):
        session.train("one", text=ROWS, steps=4, reporter=Failing())
    assert snapshot(session) == before
    assert session.verify()


# Merging


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_a_hundred_merges_and_unmerges_change_no_bit(
    architecture: str, dtype: str, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model(architecture)), dtype=dtype)
    # Tied embeddings included: qwen2 and gpt2 share one tensor with their output head.
    targets = {"llama": "all-linear,", "gpt2": "c_attn,wte", "qwen2": "q_proj,embed_tokens,lm_head"}
    session.attach("one", rank=2, targets=targets[architecture].strip(",") or None)
    perturb(session, "one")
    bits = {k: v.clone() for k, v in session.model.state_dict().items() if "lora_" not in k}
    unmerged = logits(session)
    for _ in range(100):
        session.merge("one")
        session.unmerge()
    assert session.verify()
    now = {k: v for k, v in session.model.state_dict().items() if "lora_" not in k}
    assert all(torch.equal(bits[key], now[key]) for key in bits)
    assert torch.equal(logits(session), unmerged)
    base = dict(tiny_model(architecture, dtype=getattr(torch, LONG[dtype])).named_parameters())
    session.swap("base")
    for name, parameter in session.model.named_parameters():
        assert torch.equal(parameter, base[name])


LONG = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def test_merging_a_tied_head_leaves_the_embedding_alone(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model("qwen2")))
    session.attach("one", rank=2, targets="lm_head")
    perturb(session, "one")
    unmerged = logits(session)
    session.merge()
    assert torch.allclose(logits(session), unmerged, atol=1e-6)
    embedding = session.model.model.embed_tokens.weight
    assert session.model.lm_head.weight is not embedding
    session.unmerge()
    assert session.verify()


def test_merged_the_answer_is_the_unmerged_one_at_the_cost_of_the_targets_only(
    session: Session,
) -> None:
    session.attach("one", rank=2, targets="q_proj,v_proj")
    perturb(session, "one")
    unmerged = logits(session)
    report = session.merge()
    assert torch.allclose(logits(session), unmerged, atol=1e-5)
    assert report.logit_difference < 1e-5
    sizes = {
        n: m.weight.numel() * 4
        for n, m in session.model.named_modules()
        if "q_proj" in n or "v_proj" in n
    }
    assert report.extra_bytes == sum(sizes.values())
    assert not any(hasattr(module, "lora_A") for module in session.model.modules())


def test_while_merged_verbs_that_would_mix_are_refused(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.attach("two", rank=2)
    session.save("two", tmp_path / "two")
    session.merge("one")
    before = snapshot(session)
    verbs: list[Callable[[], object]] = [
        lambda: session.swap("two"),
        lambda: session.attach("three"),
        lambda: session.train("one", text=ROWS),
        lambda: session.detach("two"),
        lambda: session.open(tmp_path / "two", "four"),
    ]
    for verb in verbs:
        with pytest.raises(StateError, match="%lora unmerge"):
            verb()
    assert snapshot(session) == before
    assert session.verify()


def test_merge_twice_does_nothing_and_merge_other_unmerges_first(session: Session) -> None:
    for seed, name in enumerate(["one", "two"]):
        session.attach(name, rank=2)
        perturb(session, name, seed=seed)
    expected = logits(session)
    session.merge("one")
    assert session.merge("one").already
    session.merge("two")
    assert session.merged == "two"
    assert torch.allclose(logits(session), expected, atol=1e-5)
    session.unmerge()
    assert (session.merged, session.active) == (None, "two")
    with pytest.raises(StateError, match="nothing is merged"):
        session.unmerge()


# Looking


def test_compare_shows_base_from_the_kept_tensors_while_merged(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", size=0.5)
    apart = session.compare("Hello", max_new_tokens=6).to_frame()
    session.merge()
    merged = session.compare("Hello", max_new_tokens=6).to_frame()
    assert merged.text.tolist() == apart.text.tolist()
    assert merged.first_logit_change[0] == 0.0
    assert merged.first_logit_change[1] == pytest.approx(apart.first_logit_change[1], rel=1e-3)
    assert session.merged == "one"


def test_an_untrained_adapter_changes_exactly_nothing_and_is_called_out(session: Session) -> None:
    session.attach("one", rank=2)
    found = session.compare("Hello", max_new_tokens=4)
    assert found.to_frame().first_logit_change.tolist() == [0.0, 0.0]
    assert "changes nothing" in found.panes[1].note


def test_looking_changes_nothing(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session.attach("two", rank=3)
    before, state = snapshot(session), torch.get_rng_state()
    session.ask("Hello", max_new_tokens=3, temperature=1.0)
    session.compare("Hello", "World", max_new_tokens=3)
    session.ratio()
    session.ratio("one")
    session.ratio(rank=3, targets="attention")
    session.spectrum()
    session.spectrum("one", "two", module="q_proj")
    session.status()
    session.verify()
    assert snapshot(session) == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_ratio_of_a_plan_is_what_an_adapter_then_has(
    architecture: str, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model(architecture)))
    planned = session.ratio(rank=3, targets="all-linear")
    record = session.attach("one", rank=3, targets="all-linear")
    assert planned.trainable_parameters == record.trainable
    assert session.ratio("one").to_frame().trainable.sum() == record.trainable
    # The parameters by torch's own count, tied ones once.
    assert planned.base_parameters == sum(p.numel() for p in tiny_model(architecture).parameters())


def test_the_spectrum_is_that_of_the_dense_update(session: Session) -> None:
    session.attach("one", rank=4, alpha=8, targets="q_proj")
    perturb(session, "one")
    frame = session.spectrum("one").to_frame()
    assert list(frame.columns) == ["adapter", "module", "index", "sigma"]
    layer = session.model.model.layers[1].self_attn.q_proj
    dense = 2.0 * layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
    expected = torch.linalg.svdvals(dense)[:4]
    found = frame[frame.module == "model.layers.1.self_attn.q_proj"]
    assert found["index"].tolist() == [1, 2, 3, 4]
    assert found.sigma.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("module", "count"),
    [
        ("q_proj", 2),
        ("0.q_proj", 1),
        ("model.layers.1.self_attn.v_proj", 1),
        ("self_attn", 8),
        ("layers.1", 7),
    ],
)
def test_a_module_is_named_by_its_path_its_end_its_parts_or_a_piece(
    module: str, count: int, session: Session
) -> None:
    session.attach("one", rank=2)
    assert session.spectrum("one", module=module).to_frame().module.nunique() == count


def test_status_names_the_next_thing_to_type(session: Session) -> None:
    assert "%lora load demo" in Session().status().next_commands
    assert any("attach" in c for c in session.status().next_commands)
    session.attach("one", rank=2)
    assert "%%lora_train one" in session.status().next_commands
    session.train("one", text=ROWS, steps=1)
    assert any("compare" in c for c in session.status().next_commands)
    session.merge()
    assert session.status().next_commands == ("%lora unmerge",)


# Mistakes


MISTAKES: list[tuple[str, Callable[[Session], object], type[LoraMagicError], str]] = [
    ("a misspelt adapter", lambda s: s.swap("on"), AdapterError, "Did you mean 'one'"),
    ("swap to a missing name", lambda s: s.swap("x"), AdapterError, "%lora attach x"),
    ("a misspelt module", lambda s: s.attach("n", targets="q_prj"), AdapterError, "'q_proj'"),
    ("rank 0", lambda s: s.attach("n", rank=0), AdapterError, "--rank 8"),
    ("too large a rank", lambda s: s.attach("n", rank=999), AdapterError, "at most"),
    ("a negative alpha", lambda s: s.attach("n", alpha=-1), AdapterError, "positive"),
    ("a name with a slash", lambda s: s.attach("a/b"), AdapterError, "a_b"),
    ("a name with a dot", lambda s: s.attach("a.b"), AdapterError, "a_b"),
    ("another spec", lambda s: s.attach("one", rank=3), AdapterError, "--replace"),
    (
        "training before attaching",
        lambda s: s.train("n", text=ROWS),
        AdapterError,
        "%lora attach n",
    ),
    ("an empty body", lambda s: s.train("one", text=" \n"), DataError, "=>"),
    (
        "a row without completion",
        lambda s: s.train("one", text="a => b\nc => "),
        DataError,
        "line 2",
    ),
    ("unmerging the unmerged", lambda s: s.unmerge(), StateError, "%lora merge"),
    ("an empty prompt", lambda s: s.ask(" "), PromptError, "empty"),
    ("too long a prompt", lambda s: s.ask("word " * 400), PromptError, "128"),
    ("too long to compare", lambda s: s.compare("word " * 400), PromptError, "128"),
    ("a missing module", lambda s: s.spectrum("one", module="zzz"), AdapterError, "no such module"),
    ("a missing folder", lambda s: s.open("./nowhere"), AdapterError, "no folder"),
    ("saving base", lambda s: s.save("base"), AdapterError, "base is no adapter"),
]


@pytest.mark.parametrize(
    ("verb", "kind", "hint"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_one_line_and_changes_nothing(
    verb: Callable[[Session], object], kind: type[LoraMagicError], hint: str, session: Session
) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    before = snapshot(session)
    with pytest.raises(kind) as seen:
        verb(session)
    assert hint in str(seen.value)
    assert "\n" not in str(seen.value)
    assert snapshot(session) == before
    assert session.verify()


@pytest.mark.parametrize("verb", ["attach", "swap", "merge", "ask", "spectrum", "verify", "save"])
def test_without_a_base_every_verb_says_how_to_load_one(verb: str) -> None:
    session = Session()
    arguments = ["x"] if verb in ("attach", "swap", "ask") else []
    with pytest.raises(StateError, match="%lora load demo"):
        getattr(session, verb)(*arguments)


def test_without_a_tokenizer_prompts_say_what_is_missing() -> None:
    session = Session()
    session.use(tiny_model())
    session.attach("one", rank=2)
    perturb(session, "one")
    session.merge()
    session.unmerge()
    assert session.verify()
    with pytest.raises(PromptError, match="tokenizer"):
        session.ask("Hello")


def test_results_hold_no_model(session: Session) -> None:
    import gc
    import weakref

    record = session.attach("one", rank=2)
    values = [session.ask("Hi", max_new_tokens=2), session.compare("Hi", max_new_tokens=2)]
    values += [session.spectrum(), session.ratio(), session.status(), session.merge(), record]
    model = weakref.ref(session.model)
    session.reset()
    gc.collect()
    assert model() is None
    assert len(values) == 7


@pytest.mark.gpu
def test_memory_is_back_to_its_level_after_reset(saved_model: Saver) -> None:
    # The first pass allocates workspaces that torch keeps for the process: measured after one.
    levels = []
    for _ in range(3):
        session = Session()
        session.load(str(saved_model()))
        session.attach("one", rank=2)
        session.train("one", text=ROWS, steps=2)
        session.merge()
        held = torch.cuda.memory_allocated()
        session.reset()
        levels.append(torch.cuda.memory_allocated())
        assert held > levels[-1]
    assert levels[1] == levels[2]
    assert levels[2] <= levels[0]


# The main job, on every architecture


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_main_job_leaves_the_base_as_it_was(
    architecture: str, saved_model: Saver, tmp_path: Path
) -> None:
    csv = tmp_path / "rows.csv"
    csv.write_text('body,reply\nWhere is it?,Arr!\nWhat is that?,"A fish, matey!"\n')
    session = Session()
    session.load(str(saved_model(architecture)))
    session.attach("one", rank=4)
    summary = session.train("one", str(csv), columns="body => reply", steps=3)
    assert summary.steps == 3
    session.attach("two", rank=2)
    session.swap("one")
    trained = logits(session)
    session.save("one", tmp_path / "one")
    session.open(tmp_path / "one", "again")
    assert torch.equal(logits(session), trained)
    session.merge("again")
    assert torch.allclose(logits(session), trained, atol=1e-5)
    session.unmerge()
    assert torch.equal(logits(session), trained)
    assert session.verify()
    assert lora_magic.Session is Session
