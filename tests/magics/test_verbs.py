"""Each line of `%lora` is one call on the session, with what was typed and nothing else."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import Any

import pytest

from lora_magic.adapters.combine.blend import DENSITIES
from lora_magic.data.shapes import LABELLED, SHAPES
from lora_magic.errors import CommandError, StateError
from lora_magic.magics.aliases import INSTEAD, SAME
from lora_magic.magics.parser import help_for, parse
from lora_magic.magics.verb import Verb
from lora_magic.magics.verbs import VERBS
from lora_magic.state.session import Session

CALLS = [
    ("", ("status", (), {})),
    ("# nothing", ("status", (), {})),
    ("history", ("history", (), {})),
    ("history --all", ("history", (), {"all": True})),
    ("history a,b", ("history", ("a", "b"), {})),
    ("board", ("board", (), {})),
    ("board a,b --sort gain", ("board", ("a", "b"), {"sort": "gain"})),
    ("serve", ("serve", (), {})),
    ("serve --port 8000 --no-token", ("serve", (), {"port": 8000, "no_token": True})),
    ("serve --token abc --stop", ("serve", (), {"token": "abc", "stop": True})),
    ("doctor", ("doctor", (), {})),
    ("doctor --report", ("doctor", (), {"report": True})),
    ("plan", ("plan", (), {})),
    (
        "export one out --to gguf --quantise q8_0 --adapter-only --rank 8 --unchecked --replace",
        (
            "export",
            (),
            {
                "name": "one",
                "folder": "out",
                "to": "gguf",
                "quantise": "q8_0",
                "adapter_only": True,
                "rank": 8,
                "unchecked": True,
                "replace": True,
            },
        ),
    ),
    (
        "export --to peft --push a/b --public --yes",
        ("export", (), {"to": "peft", "push": "a/b", "public": True, "yes": True}),
    ),
    ("plan gpt2 --tokens 1e6 --4bit", ("plan", (), {"model": "gpt2", "tokens": 1e6, "bits": 4})),
    ("load demo", ("load", ("demo",), {})),
    ("load demo --bits 8", ("load", ("demo",), {"bits": 8})),
    ("load demo --4bit", ("load", ("demo",), {"bits": 4})),
    (
        "load a/b --dtype float32 --device cpu --home h --trust-remote-code --replace",
        (
            "load",
            ("a/b",),
            {
                "dtype": "float32",
                "device": "cpu",
                "home": "h",
                "trust_remote_code": True,
                "replace": True,
            },
        ),
    ),
    (
        "attach calm --rank 4 --alpha -1.5e0 --dropout 0.1 --targets q,v --seed 3 --replace",
        (
            "attach",
            ("calm",),
            {
                "rank": 4,
                "alpha": -1.5,
                "dropout": 0.1,
                "targets": "q,v",
                "seed": 3,
                "replace": True,
            },
        ),
    ),
    (
        "load a/b --bits 8 --task classification --labels no,yes",
        ("load", ("a/b",), {"bits": 8, "task": "classification", "labels": "no,yes"}),
    ),
    (
        "attach calm --method lora --init pissa --rslora --dora --bias all --norms",
        (
            "attach",
            ("calm",),
            {
                "method": "lora",
                "init": "pissa",
                "rslora": True,
                "dora": True,
                "bias": "all",
                "norms": True,
            },
        ),
    ),
    (
        "attach calm --rank-pattern q_proj=16 --alpha-pattern q=1,v=2",
        ("attach", ("calm",), {"rank_pattern": "q_proj=16", "alpha_pattern": "q=1,v=2"}),
    ),
    (
        "attach calm --method prefix --virtual-tokens 5 --for style",
        ("attach", ("calm",), {"method": "prefix", "virtual_tokens": 5, "for_": "style"}),
    ),
    ("attach --rank=4 calm # it's a comment", ("attach", ("calm",), {"rank": 4})),
    (
        r"attach calm --targets 're:layers\.\d{1,2}\.q'",
        ("attach", ("calm",), {"targets": r"re:layers\.\d{1,2}\.q"}),
    ),
    ("detach calm", ("detach", ("calm",), {})),
    ("detach calm --discard", ("detach", ("calm",), {"discard": True})),
    ("load demo --bits 4bit", ("load", ("demo",), {"bits": 4})),
    ("load demo --bits=8-bit", ("load", ("demo",), {"bits": 8})),
    ("swap base", ("swap", ("base",), {})),
    ("swap a=0.7,b=0.3", ("swap", ("a=0.7,b=0.3",), {})),
    ("swap a=0.7 b=0.3", ("swap", ("a=0.7,b=0.3",), {})),
    ("swap a = 0.7, b=0.3", ("swap", ("a=0.7,b=0.3",), {})),
    ("compare --adapters a,b hi", ("compare", ("hi",), {"adapters": ["a", "b"]})),
    ("compare --adapters a, b hi", ("compare", ("hi",), {"adapters": ["a", "b"]})),
    ('compare --adapters "a b" hi', ("compare", ("hi",), {"adapters": ["a", "b"]})),
    ("attach c --targets q, v --rank 4", ("attach", ("c",), {"targets": "q,v", "rank": 4})),
    ("ratio", ("ratio", (), {})),
    (
        "ratio calm --rank 64 --targets q",
        ("ratio", (), {"name": "calm", "rank": 64, "targets": "q"}),
    ),
    ("ratio --model gpt3-175b --rank 4", ("ratio", (), {"model": "gpt3-175b", "rank": 4})),
    (
        "ratio --model layers=32,width=4096",
        ("ratio", (), {"model": "layers=32,width=4096"}),
    ),
    ("panel", ("panel", (), {})),
    ("panel ratio", ("panel", ("ratio",), {})),
    ("spectrum", ("spectrum", (), {})),
    ("spectrum a b --module q_proj", ("spectrum", ("a", "b"), {"module": "q_proj"})),
    ("spectrum a,b", ("spectrum", ("a", "b"), {})),
    (
        "spectrum a --measure sigma_3 --intruders",
        ("spectrum", ("a",), {"measure": "sigma_3", "intruders": True}),
    ),
    ("spectrum a, b , c", ("spectrum", ("a", "b", "c"), {})),
    ("lens", ("lens", (None,), {})),
    ("lens pirate --seed 3", ("lens", ("pirate",), {"seed": 3})),
    ("logit_lens pirate", ("lens", ("pirate",), {})),
    ("similarity a,b --side A", ("similarity", ("a", "b"), {"side": "A"})),
    ("similarity a --module 0.q_proj", ("similarity", ("a",), {"module": "0.q_proj"})),
    ("phi a,b", ("similarity", ("a", "b"), {})),
    ("merge", ("merge", (), {})),
    ("merge calm", ("merge", (), {"name": "calm"})),
    ("unmerge", ("unmerge", (), {})),
    ("blend mix a=0.7 b=-.3", ("blend", ("mix", "a=0.7 b=-.3"), {})),
    (
        "blend mix a=1,b=1 --method dare --rank 4 --density 0.5 --seed 3 --replace",
        (
            "blend",
            ("mix", "a=1,b=1"),
            {"method": "dare", "rank": 4, "density": 0.5, "seed": 3, "replace": True},
        ),
    ),
    ("blend mix", ("blend", ("mix", ""), {})),
    ("compress", ("compress", (), {})),
    ("compress calm --rank 4", ("compress", (), {"name": "calm", "rank": 4})),
    (
        "compress calm small --energy 0.95 --replace",
        ("compress", (), {"name": "calm", "new": "small", "energy": 0.95, "replace": True}),
    ),
    ("save", ("save", (), {})),
    ('save calm "my folder"', ("save", (), {"name": "calm", "folder": "my folder"})),
    ("open d", ("open", (), {"folder": "d"})),
    ("open d calm --replace", ("open", (), {"folder": "d", "name": "calm", "replace": True})),
    ("open d --allow-other-base", ("open", (), {"folder": "d", "allow_other_base": True})),
    ("open d --other-base", ("open", (), {"folder": "d", "allow_other_base": True})),
    ("script", ("script", (), {})),
    (
        "script calm train.ipynb --notebook --replace",
        ("script", (), {"name": "calm", "file": "train.ipynb", "notebook": True, "replace": True}),
    ),
    ("verify --quick", ("verify", (), {"quick": True})),
    ("reset", ("reset", (), {})),
]


@pytest.mark.parametrize(("line", "call"), CALLS)
def test_a_line_is_one_call(shell: Any, session: Any, line: str, call: Any) -> None:
    shell.run(f"%lora {line}")
    assert [_bound(*made) for made in session.calls] == [_bound(*call)]


def _bound(verb: str, args: Any, keywords: Any) -> tuple[str, dict[str, Any]]:
    """A call by the names of the method's parameters: by place or by keyword is all the same."""
    return verb, inspect.signature(getattr(Session, verb)).bind(None, *args, **keywords).arguments


def test_every_verb_has_a_line_that_is_tested() -> None:
    tested = {call[0] for _, call in CALLS}
    tested |= {"use", "train", "sweep", "ask", "compare", "evaluate", "data", "preview"}
    assert tested == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_tells_its_help_without_running(shell: Any, session: Any, verb: str) -> None:
    for line in (f"{verb} --help", f"{verb} -h", f"{verb} --bogus --help", f"{verb}?"):
        seen = shell.run(f"%lora {line}")
        assert VERBS[verb].summary in seen.printed
        assert seen.outputs == []
        assert "%%%%" not in seen.printed
        for argument in VERBS[verb].arguments:
            assert argument.name in seen.printed
            assert argument.help in " ".join(seen.printed.split())
    assert session.calls == []


def test_help_lists_every_verb(shell: Any) -> None:
    for line in ("--help", "-h", "help"):
        printed = shell.run(f"%lora {line}").printed
        assert all(f"  {name} " in printed for name in VERBS)


def test_every_flag_is_a_legal_name_in_python() -> None:
    for verb in VERBS.values():
        assert all(argument.key.isidentifier() for argument in verb.arguments)


def test_4bit_is_a_short_way_to_say_bits_4_and_contradicts_nothing(
    shell: Any, session: Any
) -> None:
    for line in ("load a/b --4bit", "load a/b --bits 4"):
        shell.run(f"%lora {line}")
        assert session.last == ("load", ("a/b",), {"bits": 4})
    calls = len(session.calls)
    with pytest.raises(CommandError, match=r"(?=.*--4bit)(?=.*--bits)"):
        shell.run("%lora load a/b --4bit --bits 8")
    assert len(session.calls) == calls


def test_train_reads_a_variable_before_a_path(
    shell: Any, session: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").write_text("x")
    shell.run(
        '%lora train calm --data rows --columns "body => reply" --steps 5 --lr 2e-4 --continue;'
    )
    verb, args, kwargs = session.last
    assert (verb, args) == ("train", ("calm", "rows"))
    assert kwargs == {
        "columns": "body => reply",
        "steps": 5,
        "lr": 2e-4,
        "continue_": True,
        "reporter": None,
    }
    shell.user_ns["rows"] = [("a", "b")]
    shell.run("%lora train calm --data rows")
    assert session.last[1] == ("calm", [("a", "b")])
    shell.run("%lora train calm --data no/such.csv")
    assert session.last[1] == ("calm", "no/such.csv")


def test_map_takes_the_notebooks_function_and_not_its_name(shell: Any, session: Any) -> None:
    shell.run("class helpers:\n    to_row = staticmethod(lambda row: None)\ndef to_pair(row): ...")
    shell.user_ns["rows"] = [("a", "b")]
    shell.run("%lora train calm --data rows --map to_pair --skip-bad;")
    assert session.last[2] == {
        "map_": shell.user_ns["to_pair"],
        "skip_bad": True,
        "reporter": None,
    }
    shell.run("%lora train calm --data rows --map helpers.to_row")
    assert session.last[2]["map_"] is shell.user_ns["helpers"].to_row


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("to_piar", r"--map 'to_piar' is not defined.*Did you mean 'to_pair'.*def to_piar\(row\)"),
        ("rows", r"--map rows: expected a function .*, got list"),
        ('"lambda row: row"', r"is an expression; define it first"),
        ("to_pair(1)", r"is an expression; define it first"),
        ("helpers.none", r"has no 'none'"),
    ],
)
def test_what_is_no_function_is_refused_before_any_row_is_read(
    typed: str, told: str, shell: Any, session: Any
) -> None:
    shell.run("def to_pair(row): ...\nclass helpers: ...")
    shell.user_ns["rows"] = [("a", "b")]
    with pytest.raises(CommandError, match=told):
        shell.run(f"%lora train calm --data rows --map {typed}")
    assert session.calls == []


def test_the_help_of_train_shows_every_shape_that_is_known() -> None:
    told = help_for(VERBS["train"])
    for shape in (*SHAPES, *LABELLED):
        assert shape.line in told


def test_the_optimizer_and_its_two_rates_go_to_the_session(shell: Any, session: Any) -> None:
    shell.run("%%lora_train calm --lora-plus 16 --optimizer paged-adamw\na => b")
    assert (session.last[2]["lora_plus"], session.last[2]["optimizer"]) == (16.0, "paged-adamw")


def test_resuming_and_the_seconds_between_checkpoints_go_to_the_session(
    shell: Any, session: Any
) -> None:
    shell.run("%%lora_train calm --resume --checkpoint-every 5\na => b")
    assert (session.last[2]["resume"], session.last[2]["checkpoint_every"]) == (True, 5.0)


def test_two_ways_to_say_the_same_are_not_given_at_once(shell: Any, session: Any) -> None:
    for line in ("load demo --bits 8 --4bit", "load demo --4bit --bits 8"):
        with pytest.raises(CommandError, match=r"--4bit.*--bits|--bits.*--4bit"):
            shell.run(f"%lora {line}")
    assert session.calls == []


def test_guard_rows_are_a_variable_or_a_path_and_a_typo_is_named(shell: Any, session: Any) -> None:
    shell.user_ns["general"] = [("a", "b")]
    shell.run("%%lora_train calm --guard general --replay 0.1\na => b")
    assert (session.last[2]["guard"], session.last[2]["replay"]) == ([("a", "b")], 0.1)
    shell.run("%%lora_train calm --guard no/such.csv\na => b")
    assert session.last[2]["guard"] == "no/such.csv"
    calls = len(session.calls)
    with pytest.raises(CommandError, match=r"^--guard 'genral' is neither.*'general'.*--guard VAR"):
        shell.run("%%lora_train calm --guard genral\na => b")
    with pytest.raises(CommandError, match=r"--guard .*expression.*type --guard rows"):
        shell.run("%%lora_train calm --guard general[:2]\na => b")
    assert len(session.calls) == calls


def test_held_out_rows_are_a_count_or_a_share(shell: Any, session: Any) -> None:
    shell.run("%%lora_train calm --eval 20 --epochs 1.5\na => b")
    assert (session.last[2]["eval"], session.last[2]["epochs"]) == (20, 1.5)
    shell.run("%%lora train calm --eval 0.1\na => b")
    assert session.last[2]["eval"] == 0.1


def test_held_out_rows_can_be_a_variable_or_a_file(shell: Any, session: Any) -> None:
    shell.user_ns["test_rows"] = rows = [("a", "b")]
    shell.run("%%lora_train calm --eval test_rows\na => b")
    assert session.last[2]["eval"] is rows
    shell.run("%%lora_train calm --eval other/rows.csv\na => b")
    assert session.last[2]["eval"] == "other/rows.csv"
    with pytest.raises(
        CommandError, match=r"--eval 'tset_rows' is neither .*test_rows.*--eval VAR"
    ):
        shell.run("%%lora_train calm --eval tset_rows\na => b")


def test_the_flags_of_a_runs_length_go_to_the_session(shell: Any, session: Any) -> None:
    flags = "--patience 2 --minutes 1.5 --schedule cosine --warmup 0.1 --lr find"
    shell.run(f"%%lora_train calm {flags}\na => b")
    told = session.last[2]
    assert (told["patience"], told["minutes"], told["schedule"]) == (2, 1.5, "cosine")
    assert (told["warmup"], told["lr"]) == (0.1, "find")


def test_a_cell_without_rows_reaches_the_session_which_knows_the_error(
    shell: Any, session: Any
) -> None:
    shell.run("%%lora_train calm")
    assert session.last[2]["text"].strip() == ""


def test_rows_come_from_one_place(shell: Any, session: Any) -> None:
    shell.user_ns["df"] = object()
    with pytest.raises(CommandError, match="there are rows below and --data"):
        shell.run("%%lora_train calm --data df\na => b")
    with pytest.raises(CommandError, match=r"no rows.*%%lora_train calm"):
        shell.run("%lora train calm")
    with pytest.raises(CommandError, match=r"neither a variable.*Did you mean 'mails'"):
        shell.run("mails = 1\n%lora train calm --data mials")
    assert session.calls == []


def test_preview_takes_rows_as_train_does_with_or_without_an_adapter(
    shell: Any, session: Any
) -> None:
    shell.run("%%lora preview\na => b")
    assert session.last == ("preview", (), {"text": "a => b\n"})
    shell.user_ns["mails"] = [("a", "b")]
    shell.run("%lora preview calm --data mails --rows 5 --eval 2 --max-length 64 --template plain")
    flags = {"rows": 5, "eval": 2, "max_length": 64, "template": "plain"}
    assert session.last == ("preview", (), {"name": "calm", "data": [("a", "b")], **flags})
    with pytest.raises(
        CommandError, match=r"%lora preview calm: no rows. Type %%lora preview calm"
    ):
        shell.run("%lora preview calm")
    with pytest.raises(CommandError, match="rows below and --data"):
        shell.run("%%lora preview --data mails\na => b")


def test_data_keeps_a_cells_rows_and_says_what_is_read_before_them(
    shell: Any, session: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell.run("%%lora data greetings --format arrow\na => b")
    assert session.last == ("data", ("greetings", "a => b\n"), {"format": "arrow"})
    (tmp_path / "greetings").write_text("x")
    seen = shell.run("%%lora data greetings\na => b")
    assert "--data greetings reads them, not the file greetings" in "".join(seen.lines)
    shell.user_ns["greetings"] = 1
    seen = shell.run("%%lora data greetings\na => b")
    assert "--data greetings reads the variable greetings, which comes first" in "".join(seen.lines)
    with pytest.raises(CommandError, match="%%lora data greetings with rows below"):
        shell.run("%lora data greetings")


def test_data_of_a_run_is_a_variable_then_kept_rows_then_a_file(
    shell: Any, session: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("a => b")
    shell.run("%lora train calm --data mine")
    assert session.last[1] == ("calm", "mine")
    session.kept["mine"] = "kept rows"
    shell.run("%lora train calm --data mine")
    assert session.last[1] == ("calm", "kept rows")
    shell.user_ns["mine"] = "variable"
    shell.run("%lora train calm --data mine")
    assert session.last[1] == ("calm", "variable")


def test_use_takes_the_objects_and_not_their_names(shell: Any, session: Any) -> None:
    model, tokenizer = object(), object()
    shell.user_ns.update(model=model, tokenizer=tokenizer)
    shell.run("%lora use model tokenizer")
    assert session.last == ("use", (model, tokenizer), {})
    shell.run("%lora use model --replace")
    assert session.last == ("use", (model,), {"replace": True})
    with pytest.raises(CommandError, match=r"'modle' is not defined.*Did you mean 'model'"):
        shell.run("%lora use modle tokenizer")
    shell.run("def f(local):\n    %lora use local\nf(7)")
    assert session.last[1] == (7,)


def test_use_with_an_adapters_name_swaps_unless_a_variable_has_it(shell: Any, session: Any) -> None:
    shell.run("%lora use pirate")
    assert session.last == ("swap", ("pirate",), {})
    shell.run("pirate = 5\n%lora use pirate")
    assert session.last == ("use", (5,), {})


@pytest.mark.parametrize(("word", "verb"), SAME.items())
def test_words_people_try_do_what_the_verb_does(
    shell: Any, session: Any, word: str, verb: str
) -> None:
    needed = {**dict.fromkeys(("ask", "swap", "compare", "open"), "x"), "sweep": "x --data r.csv"}
    needed["evaluate"] = "--data r.csv"
    shell.run(f"%lora {word} {needed.get(verb, '')}")
    assert session.last[0] == verb


@pytest.mark.parametrize(("word", "command"), INSTEAD.items())
def test_words_that_could_lose_something_name_the_command(
    shell: Any, session: Any, word: str, command: str
) -> None:
    with pytest.raises(CommandError) as error:
        shell.run(f"%lora {word} pirate")
    assert command in str(error.value)
    assert session.calls == []


def test_the_ways_out_name_verbs_that_exist() -> None:
    assert set(SAME.values()) <= set(VERBS)
    assert not {*SAME, *INSTEAD} & set(VERBS)
    for command in INSTEAD.values():
        named = [part.split()[0].rstrip(",.") for part in command.split("%lora ")[1:]]
        assert set(named) <= set(VERBS)
        assert named or "%%lora_train" in command


def test_every_verbs_run_is_documented() -> None:
    for verb in VERBS.values():
        assert inspect.getdoc(verb.run or getattr(Session, verb.name))


class PreTrainedModel:
    """Known by its name alone: transformers need not be there."""


class PreTrainedTokenizerBase:
    """Likewise."""


class TinyModel(PreTrainedModel):
    pass


def test_status_without_a_base_names_the_models_of_the_notebook(shell: Any, session: Any) -> None:
    found: list[list[str]] = []
    session.answers["status"] = SimpleNamespace(base=None, with_found=found.append)
    shell.run("%lora")
    shell.user_ns.update(net=TinyModel(), tok=PreTrainedTokenizerBase(), _hidden=TinyModel())
    shell.run("%lora")
    shell.user_ns["other"] = PreTrainedTokenizerBase()
    shell.run("%lora")
    assert found == [[], ["net tok"], ["net"]]


#: What only Python has: the text of a cell, what follows a verb, what controls begin with.
NOT_TYPED = {"text", "variables", "reporter", "watch", "start"}
#: Words that have another name in Python, where they are an object, or several.
ALSO = {
    ("use", "var"): "model",
    **{(verb, "name"): "names" for verb in ("spectrum", "similarity", "history", "board")},
}


@pytest.mark.parametrize("name", list(VERBS))
def test_what_can_be_typed_is_what_the_sessions_method_takes(name: str) -> None:
    typed = {ALSO.get((name, argument.key), argument.key) for argument in VERBS[name].arguments}
    taken = {*inspect.signature(getattr(Session, name)).parameters} - NOT_TYPED - {"self"}
    assert typed == taken - ({"prompt", "prompts"} if VERBS[name].prompt else set())


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_help_names_every_default(verb: Verb) -> None:
    told = " ".join(help_for(verb).split())
    for argument in verb.arguments:
        if argument.needed or argument.short_for or argument.key == "weights":
            continue
        default = verb.default(argument)
        assert default
        assert f"{argument.typed} {argument.help} (default: {default})" in told


def test_a_default_by_the_size_of_the_base_is_the_recipes_number() -> None:
    train = {a.name: a.default for a in VERBS["train"].arguments}
    attach = {a.name: a.default for a in VERBS["attach"].arguments}
    assert train["--lr"] == "0.0005; above 1B parameters 0.0002; demo 0.003"
    assert train["--epochs"] == "with held-out rows at most 10; above 1B parameters 1"
    assert train["--max-length"] == "1024; above 1B parameters 2048; at most the context"
    assert attach["--rank"] == "16; demo 8"
    assert attach["--alpha"] == "32; demo 16"


def test_a_default_of_the_session_is_what_help_names() -> None:
    named = {a.name: VERBS["ask"].default(a) for a in VERBS["ask"].arguments}
    assert named == {
        "--max-new-tokens": "200",
        "--temperature": "0",
        "--top-p": "1",
        "--seed": "0",
        "--data": "the prompt typed",
        "--column": "prompt, or the only one of text",
        "--mix": "none",
        "--messages": "the prompt typed",
    }
    load, blend = VERBS["load"], {a.name: a for a in VERBS["blend"].arguments}
    assert load.default(next(a for a in load.arguments if a.name == "--task")) == "causal"
    assert VERBS["blend"].default(blend["--method"]) == "sum"
    for method, density in DENSITIES.items():
        assert re.search(rf"{method}\D* {density}", blend["--density"].default)


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [
        ("%%lora_train calm {}\na => b", "--more", "--continue"),
        ("%lora open d {}", "--other-base", "--allow-other-base"),
    ],
)
def test_an_old_flag_works_and_names_the_new_one(
    shell: Any, session: Any, line: str, old: str, new: str
) -> None:
    said = shell.run(line.format(old)).printed
    assert said.count("\n") == 1
    assert f"{old} is now {new}" in said
    assert shell.run(line.format(new)).printed == ""
    kept = [(verb, args, {**words, "reporter": None}) for verb, args, words in session.calls]
    assert kept[0] == kept[1]
    verb = VERBS[kept[0][0]]
    assert old not in help_for(verb) + verb.usage


def test_an_old_keyword_works_and_names_the_new_one() -> None:
    session = Session()
    for call, new in (
        (lambda: session.train("one", more=True), "continue_"),  # type: ignore[call-arg]
        (lambda: session.open("d", other_base=True), "allow_other_base"),  # type: ignore[call-arg]
    ):
        with pytest.warns(FutureWarning, match=f"is now {new}"), pytest.raises(StateError):
            call()
    with pytest.raises(CommandError, match="more is now continue_; pass only continue_"):
        session.train("one", more=True, continue_=False)  # type: ignore[call-arg]


@pytest.mark.parametrize("rest", ["h,base hi", "h, base hi", "h , base hi", "h ,base hi"])
def test_a_list_of_adapters_before_a_prompt_may_have_spaces(rest: str) -> None:
    parsed = parse(VERBS["compare"], f"--adapters {rest}", str, cell=False)
    assert parsed.flags["adapters"] == ["h", "base"]
    assert parsed.prompt == "hi"


@pytest.mark.parametrize("name", ["merge", "detach", "ratio", "save", "compress"])
@pytest.mark.parametrize("rest", ["a,b", "a, b"])
def test_a_list_for_a_verb_of_one_adapter_is_named(name: str, rest: str) -> None:
    with pytest.raises(CommandError, match=f"expected one adapter, got '{rest}'"):
        parse(VERBS[name], rest, str, cell=False)
