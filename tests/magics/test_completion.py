"""TAB: what is offered where, that it is never wrong, and that it is never in the way."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from IPython.core import completer as ipython

import lora_magic
from lora_magic.adapters.combine import Way
from lora_magic.adapters.methods import method_of
from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.adapters.targets import resolve
from lora_magic.base.device import choose_device, choose_dtype
from lora_magic.base.prompt import PromptForm
from lora_magic.base.quantise import check_bits
from lora_magic.base.recipe import SMALL
from lora_magic.base.task import check_kind
from lora_magic.cost.cards import CARDS
from lora_magic.cost.machine import place_of
from lora_magic.data.files import read_file
from lora_magic.data.rows import read_text
from lora_magic.errors import CommandError, LoraMagicError
from lora_magic.evaluation.board import Board
from lora_magic.export.formats import check_quantise, kind_of
from lora_magic.lowrank.similarity import side_of
from lora_magic.lowrank.spectrum import check_measure
from lora_magic.magics.aliases import SAME
from lora_magic.magics.completion import NOTHING, offer
from lora_magic.magics.shell import KEPT_AS
from lora_magic.magics.verb import Thing
from lora_magic.magics.verbs import VERBS
from lora_magic.magics.verbs.looking import VIEWS
from lora_magic.magics.words import expand, split
from lora_magic.state.resolve import resolve_spec
from lora_magic.state.session import Session
from lora_magic.state.session_state import SessionState
from lora_magic.state.spread import workers_of
from lora_magic.state.workers import wanted
from lora_magic.training.spec import TRACKERS, plan
from tests.conftest import Saver
from tests.magics.conftest import run_alone
from tests.tiny import tiny_tokenizer

THERE = {
    Thing.ADAPTER: ["pirate", "formal"],
    Thing.MODULE: ["q_proj", "v_proj", "up_proj"],
    Thing.MODEL: ["model"],
    Thing.TOKENIZER: ["tokenizer"],
    Thing.VARIABLE: ["rows", "rest"],
    Thing.KEPT: ["mine"],
    Thing.SAVED: ["kept"],
    Thing.FOLDER: ["data/"],
    Thing.FILE: ["data/", "mails.csv"],
}


class There:
    """Fixed names of every kind."""

    def names(self, thing: Thing, begun: str) -> Iterable[str]:
        return THERE[thing]


def offered(before: str) -> list[str]:
    found = offer(before, VERBS, There())
    assert found is not None
    return [candidate.text for candidate in found.candidates]


def results(before: str) -> list[str]:
    """The texts that the offers would make of `before`."""
    found = offer(before, VERBS, There())
    assert found is not None
    assert before.endswith(found.fragment)
    kept = before[: len(before) - len(found.fragment)]
    return [kept + candidate.text for candidate in found.candidates]


# Where a line can stand

PLACES = [
    "",
    "x = ",
    "a, b = ",
    "d['k'] = ",
    "    ",
    "for i in y:\n    ",
    "a = 1\n%lora ask What's up?\nx = ",
    "# a note\n",
    "%%time\n",
    "%%capture out\nx = ",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("%lora att", "%lora attach"),
        ("%lora attach x --dro", "%lora attach x --dropout"),
        ("%lora attach x \\\n  --dro", "%lora attach x \\\n  --dropout"),
        ("%lora swap pi", "%lora swap pirate"),
        ("%lora_train fo", "%lora_train formal"),
        ("%lora_train formal --lora", "%lora_train formal --lora-plus"),
    ],
)
def test_a_line_is_completed_wherever_it_can_stand(place: str, typed: str, whole: str) -> None:
    assert results(place + typed) == [place + whole]


@pytest.mark.parametrize("above", ["", "# rows\n\n", "\n"])
@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("%%lora_train pi", "%%lora_train pirate"),
        ("%%lora_train pirate --lo", "%%lora_train pirate --lora-plus"),
        ("%%lora compa", "%%lora compare"),
        ("%%lora train pi", "%%lora train pirate"),
        ("%%lora train formal,pi", "%%lora train formal,pirate"),
        ("%%lora_train formal,pi", "%%lora_train formal,pirate"),
        ("%%lora ask --ou", "%%lora ask --out"),
    ],
)
def test_the_line_of_a_cell_magic_is_completed(above: str, typed: str, whole: str) -> None:
    assert results(above + typed) == [above + whole]


NOT_OURS = [
    "",
    "x = ra",
    "%lo",
    "%lora",
    "%%lora",
    "%lorax at",
    "%%lorax at",
    "x = 7 %lora at",
    "f(a=%lora at",
    "# %lora at",
    "!echo %lora at",
    "print('%lora at",
    "%%bash\n%lora at",
    "%%writefile notes.txt\n%%lora_train pi",
]


@pytest.mark.parametrize("before", NOT_OURS)
def test_what_is_not_ours_is_left_to_ipython(before: str) -> None:
    assert offer(before, VERBS, There()) is None


FREE = [
    "%lora ask What",
    "%lora ask What is a",
    "%lora ask What's at",
    "%lora ask What is ",
    "%lora ask --seed 3 What is --te",
    "%lora ask -- ",
    "%lora ask -- --te",
    "%lora compress -- pirate small ",
    '%lora ask "What is a',
    "%lora compare --adapters base,pirate pi",
    "%%lora_train pirate\n%lora at",
    "%%lora_train pirate\nWhere is it? => a",
    "# rows\n%%lora ask\nWhat is a",
    "%lora attach a",
    "%lora attach x --rank ",
    "%lora attach x --rank=",
    "%lora attach x --rank 4 more",
    "%lora swap pirate=",
    "%lora swap pirate=0.",
    "%lora nonsense pi",
    "%lora reset ",
    "%lora merge pirate # --",
    "%lora merge pirate fo",
    "%lora train pirate --bogus=pi",
    "%lora attach x --dora=t",
    "%%lora mer",
]


@pytest.mark.parametrize("before", FREE)
def test_where_anything_may_stand_nothing_is_offered_by_anybody(before: str) -> None:
    found = offer(before, VERBS, There())
    assert found is not None
    assert found.candidates == ()


# What is offered


def test_every_verb_is_offered_and_no_other_word() -> None:
    assert offered("%lora ") == list(VERBS)
    assert offered("%%lora ") == [
        *("data", "preview", "train", "sweep", "ask", "compare", "evaluate", "compress")
    ]
    assert not {*SAME} & {*offered("%lora ")}


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_of_a_verb_is_offered_until_it_is_given(verb: str) -> None:
    flags = [argument for argument in VERBS[verb].arguments if argument.is_flag]
    assert offered(f"%lora {verb} -") == [*(flag.name for flag in flags), "--help"]
    for flag in flags:
        given = f"{flag.name} 1" if flag.kind else flag.name
        left = offered(f"%lora {verb} {given} --")
        assert left == [*(f.name for f in flags if f.key != flag.key or f.repeated), "--help"]


def test_out_is_offered_where_the_cell_has_a_body() -> None:
    assert "--out" in offered("%%lora compare --")
    assert "--out" not in offered("%lora compare --")


def test_a_flag_waits_until_the_names_are_there() -> None:
    assert offered("%lora detach ") == ["pirate", "formal"]
    assert offered("%lora train ") == ["pirate", "formal"]
    assert offered("%lora train pirate ")[:2] == ["--data", "--columns"]
    assert offered("%lora merge ") == ["pirate", "formal", "--check"]
    assert offered("%lora compress ")[:3] == ["pirate", "formal", "--rank"]
    sampling = ["--max-new-tokens", "--temperature", "--top-p", "--seed"]
    assert offered("%lora ask ") == [*sampling, "--data", "--column", "--mix", "--messages"]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("%lora swap ", ["base", "pirate", "formal"]),
        ("%lora swap pirate=0.7,", ["formal"]),
        ("%lora swap pirate=0.7 ", ["formal"]),
        ("%lora switch pi", ["pirate"]),
        ("%lora compare --adapters ", ["base", "pirate", "formal"]),
        ("%lora compare --adapters base,pi", ["pirate"]),
        ("%lora compare --adapters pirate,formal,", []),
        ("%lora compare --adapters base, pi", ["pirate"]),
        ("%lora spectrum pirate,f", ["formal"]),
        ("%lora spectrum pirate, f", ["formal"]),
        ("%lora blend mild pirate=0.4,f", ["formal="]),
        ("%lora blend mild p", ["pirate="]),
        ("%lora blend mild pirate=0.4 f", ["formal="]),
        ("%lora spectrum pirate f", ["formal"]),
        ("%lora spectrum --module q", ["q_proj"]),
        ("%lora spectrum -- --module ", ["pirate", "formal"]),
        ("%lora attach x --targets ", ["attention", "all-linear", "re:", *THERE[Thing.MODULE]]),
        ("%lora attach x --targets q_proj,", ["v_proj", "up_proj"]),
        ('%lora attach x --targets "q_proj, v', ["v_proj"]),
        ("%lora attach x --targets re:q", []),
        ("%lora attach x --rank-pattern q_proj=16,v", ["v_proj="]),
        ("%lora attach x --rank-pattern q_proj=1", []),
        ("%lora ratio --targets=v", ["v_proj"]),
        ("%lora use ", ["model", "rows", "rest"]),
        ("%lora use model ", ["tokenizer", "rows", "rest", "--replace"]),
        ("%lora train pirate --data r", ["rows", "rest"]),
        ("%lora train pirate --data m", ["mine", "mails.csv"]),
        ("%lora load m --labels ro", ["rows"]),
        ("%lora load d", ["demo", "data/"]),
        ("%lora open ", ["kept", "data/"]),
        ("%lora save pirate ", ["data/"]),
        ("%lora attach {ro", ["rows"]),
        ("%lora attach a_{ro", ["rows"]),
        ("%lora attach {{ro", []),
        ("%lora LOAD", ["load"]),
        ("%lora swap PI", ["pirate"]),
    ],
)
def test_names_are_offered_where_they_are_meant(before: str, expected: list[str]) -> None:
    assert offered(before) == expected


def test_the_same_choices_stand_behind_an_equals_sign() -> None:
    for verb in VERBS.values():
        for flag in (argument for argument in verb.arguments if argument.is_flag and argument.kind):
            begun = f"%lora {verb.name} {flag.name}"
            assert offered(f"{begun}=") == offered(f"{begun} ")


def _spec(**fields: Any) -> object:
    return AdapterSpec(rank=8, alpha=16.0, targets="usual", **fields)


def _tracker(word: str) -> None:
    if word not in TRACKERS:
        raise CommandError(f"--report-to {word}: expected one of {TRACKERS}")


CPU = torch.device("cpu")


def parts(verb: str, word: str) -> object:
    return workers_of(SessionState(), verb, Path(), 2, word, None)


# What the rest of the package makes of a word.
CHECKS: dict[str, tuple[int, Callable[[str], object]]] = {
    "%lora plan m --bits": (2, lambda word: check_bits(int(word) if word.isdigit() else word, CPU)),
    "%lora plan m --dtype": (6, lambda word: choose_dtype(word, CPU, torch.float32, 10)),
    "%lora plan m --task": (2, check_kind),
    "%lora plan m --method": (9, method_of),
    "%lora plan m --init": (6, lambda word: _spec(init=word)),
    "%lora plan m --bias": (3, lambda word: _spec(bias=word)),
    "%lora plan m --for": (3, lambda word: resolve_spec("x", SMALL, {"for_": word})),
    "%lora plan m --optimizer": (3, lambda word: plan(SMALL, 2, optimizer=word)),
    "%lora plan m --gpu": (len(CARDS) + 1, place_of),
    "%lora attach x --method": (9, method_of),
    "%lora ratio --method": (9, method_of),
    "%lora attach x --init": (6, lambda word: _spec(init=word)),
    "%lora attach x --bias": (3, lambda word: _spec(bias=word)),
    "%lora attach x --for": (3, lambda word: resolve_spec("x", SMALL, {"for_": word})),
    "%lora load m --bits": (2, lambda word: check_bits(int(word) if word.isdigit() else word, CPU)),
    "%lora load m --dtype": (6, lambda word: choose_dtype(word, CPU, torch.float32, 10)),
    "%lora load m --device": (3, choose_device),
    "%lora load m --task": (2, check_kind),
    "%lora blend x --method": (4, lambda word: Way(method=word)),
    "%lora train x --optimizer": (3, lambda word: plan(SMALL, 2, optimizer=word)),
    "%lora train x --schedule": (3, lambda word: plan(SMALL, 2, schedule=word)),
    "%lora train x --report-to": (4, _tracker),
    "%lora train x --template": (2, lambda word: PromptForm.of(tiny_tokenizer(chat=True), word)),
    "%lora train x --format": (7, lambda word: read_file(Path("rows.txt"), word)),
    "%%lora_train x --format": (3, lambda word: read_text("a => b", word)),
    "%lora preview --template": (2, lambda word: PromptForm.of(tiny_tokenizer(chat=True), word)),
    "%lora preview x --format": (7, lambda word: read_file(Path("rows.txt"), word)),
    "%lora evaluate --format": (7, lambda word: read_file(Path("rows.txt"), word)),
    "%lora compress x --format": (7, lambda word: read_file(Path("rows.txt"), word)),
    "%%lora data x --format": (3, lambda word: read_text("a => b", word)),
    "%lora sweep x --method": (9, method_of),
    "%lora sweep x --init": (6, lambda word: _spec(init=word)),
    "%lora sweep x --bias": (3, lambda word: _spec(bias=word)),
    "%lora sweep x --for": (3, lambda word: resolve_spec("x", SMALL, {"for_": word})),
    "%lora sweep x --optimizer": (3, lambda word: plan(SMALL, 2, optimizer=word)),
    "%lora sweep x --schedule": (3, lambda word: plan(SMALL, 2, schedule=word)),
    "%lora train x --engine": (2, lambda word: wanted(SessionState(), Path(), 2, word, None)),
    "%lora sweep x --engine": (1, lambda word: parts("sweep", word)),
    "%lora evaluate x --engine": (1, lambda word: parts("evaluate", word)),
    "%lora sweep x --template": (2, lambda word: PromptForm.of(tiny_tokenizer(chat=True), word)),
    "%lora export x --to": (4, kind_of),
    "%lora export x --to gguf --quantise": (3, check_quantise),
    "%lora board --sort": (16, Board(()).sorted),
    "%lora similarity a,b --side": (4, side_of),
    "%lora spectrum --measure": (8, check_measure),
    "%lora sweep x --format": (7, lambda word: read_file(Path("rows.txt"), word)),
}


@pytest.mark.parametrize("line", CHECKS)
def test_a_choice_that_is_offered_is_one_that_is_accepted(line: str) -> None:
    Path("rows.txt").write_text("a => b")
    count, check = CHECKS[line]
    flag = line.rpartition("--")[2]

    def refused(word: str) -> bool:
        try:
            check(word)
        except LoraMagicError as error:
            pattern = rf"(--)?{flag} '?{word}'?: (no such device; )?expected"
            return re.search(pattern, str(error)) is not None
        return False

    words = offered(f"{line} ")
    assert len(words) == count
    assert not any(map(refused, words))
    assert refused("bogus")


def test_the_panels_views_are_those_that_there_are() -> None:
    assert offered("%lora panel ") == list(VIEWS)


def test_every_flag_that_takes_one_of_a_few_words_is_checked_above() -> None:
    with_words = {
        f"{name} {argument.name}"
        for name, verb in VERBS.items()
        for argument in verb.arguments
        if argument.is_flag and argument.words and not argument.things
    }
    checked = {re.sub(r"%+lora[ _](\w+).* ?(--\w+)", r"\1 \2", line) for line in CHECKS}
    assert with_words == checked


# Whatever is typed

LINES = [
    line.replace("%lora", magic, 1)
    for verb in VERBS.values()
    for line in [*verb.examples, verb.usage]
    for magic in ("%lora", "x = %lora", "%%lora")
    if line.startswith("%lora")
]


@pytest.mark.parametrize("line", LINES)
def test_every_verb_and_flag_of_an_example_is_offered_from_its_first_letter(line: str) -> None:
    for end in range(len(line) + 1):
        found = offer(line[:end], VERBS, There())
        assert found is None or line[:end].endswith(found.fragment)
    words = list(re.finditer(r"(?<= )--[\w-]+|(?<=%lora )\w+", line))
    verb = VERBS.get(f"{line} ".split(" ")[1 if line.startswith("%") else 3])
    cell_without_body = line.startswith("%%") and verb is not None and not verb.body
    for word in words[: 1 if cell_without_body else None]:
        for end in range(word.start() + 1, word.end() + 1):
            assert (line[: word.end()] in results(line[:end])) != cell_without_body


PIECES = [
    *(
        "%lora",
        "%%lora",
        "%lora_train",
        "%%lora_train",
        " ",
        " ",
        " ",
        "\n",
        "=",
        ",",
        "\\",
        "\\\n",
    ),
    *(
        "'",
        '"',
        "{",
        "}",
        "{{",
        "#",
        ";",
        "?",
        "-",
        "--",
        "--help",
        "--data",
        "--rank",
        "--targets=",
    ),
    *(
        "attach",
        "ask",
        "swap",
        "train",
        "open",
        "bogus",
        "pirate",
        "a",
        "/",
        "~/",
        "α",
        "\x1d",
        "\t",
    ),
]


def test_no_text_whatsoever_is_an_error(bare_shell: Any) -> None:
    draw = random.Random(0)
    bare_shell.run("%load_ext lora_magic")
    seen = 0
    for _ in range(3000):
        before = "".join(draw.choices(PIECES, k=draw.randint(1, 9)))
        begun = draw.choice(["", "%lora ", "%%lora_train ", "x = %lora "]) + before
        found = offer(begun, VERBS, There())
        assert found is None or begun.endswith(found.fragment)
        seen += found is not None and found is not NOTHING
    assert seen > 500


# In a shell, old or new


def pressed(shell: Any, text: str) -> list[str]:
    """What the cell's text can become by TAB at its end, if it is to become anything else."""
    with ipython.provisionalcompleter():
        found = [(c.start, c.text) for c in shell.Completer.completions(text, len(text))]
    texts = [text[:start] + end for start, end in found]
    if re.fullmatch(r".*%lora\S* .*", text):
        # The older way to ask, with the line alone and without jedi, says the same.
        fragment, matches = shell.complete("", text, len(text))
        assert [text[: len(text) - len(fragment)] + match for match in matches] == texts
    return [new for new in texts if new != text]


WHOLE_CELL = pytest.mark.skipif(
    not hasattr(ipython, "context_matcher"), reason="this IPython shows a line and no cell"
)


@pytest.fixture
def full(bare_shell: Any, saved_model: Saver) -> Any:
    """A shell with a base and two adapters, one of them active."""
    bare_shell.run("%load_ext lora_magic")
    bare_shell.run(f"%lora load {saved_model()}")
    bare_shell.run("%lora attach formal --targets all-linear")
    bare_shell.run("%lora attach pirate --targets q_proj,v_proj")
    return bare_shell


@pytest.mark.parametrize("place", ["", "x = ", "for i in y:\n    "])
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("%lora att", ["%lora attach"]),
        ("%lora attach x --ra", ["%lora attach x --rank", "%lora attach x --rank-pattern"]),
        ("%lora attach x --bias=a", ["%lora attach x --bias=all"]),
        ("%lora swap p", ["%lora swap pirate"]),
        ("%lora swap pirate=0.7,f", ["%lora swap pirate=0.7,formal"]),
        ("%lora blend x f", ["%lora blend x formal="]),
        ("%lora attach x --targets q_proj,k", ["%lora attach x --targets q_proj,k_proj"]),
        ("%lora train pirate --data ro", ["%lora train pirate --data rows"]),
        ("%lora_train p", ["%lora_train pirate"]),
        ("%lora attach {na", ["%lora attach {name"]),
        ("%lora ask What is th", []),
        ("%lora ask What is ", []),
        ("%lora attach x --rank ", []),
    ],
)
def test_a_shell_completes(full: Any, place: str, typed: str, expected: list[str]) -> None:
    # Each of these is something that jedi would take the end of the line for.
    full.run("rank_of = 1\nfor_all = 2\nprint_all = 3\nthat = 4\nrows = []\nname = 'x'\ny = []")
    assert pressed(full, place + typed) == [place + line for line in expected]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("%%lora_train p", ["%%lora_train pirate"]),
        ("%%lora co", ["%%lora compare", "%%lora compress"]),
    ],
)
def test_a_shell_completes_a_cell_magics_line(full: Any, typed: str, expected: list[str]) -> None:
    assert pressed(full, typed) == expected


@WHOLE_CELL
def test_a_shell_leaves_the_rows_below_alone(full: Any) -> None:
    for row in ["%lora at", "ra", "What is th"]:
        assert pressed(full, f"%%lora_train pirate\n{row}") == []
    assert pressed(full, "%lora attach x \\\n  --dro") == ["%lora attach x \\\n  --dropout"]


def test_what_is_not_ours_completes_as_it_did(full: Any) -> None:
    # Jedi is no part of it, and not always of one mind: it has been seen to answer a second time
    # what it left empty the first.
    full.Completer.use_jedi = False
    full.run("import os\nwanted_here = 1")
    cells = ["wanted_h", "x = wanted_h", "os.getc", "%lor", "%loa", "%%lora_t"]
    with_us = [pressed(full, cell) for cell in cells]
    full.run("%unload_ext lora_magic")
    without = [pressed(full, cell) for cell in cells]
    assert with_us[:3] == without[:3]
    assert all(with_us)
    assert pressed(full, "%lora att") != ["%lora attach"]


def test_modules_are_those_of_the_base_whatever_stands_in_them(full: Any) -> None:
    session: Session = getattr(full, KEPT_AS)
    offers = pressed(full, "%lora spectrum --module ")
    full.run("%lora swap base")
    assert pressed(full, "%lora spectrum --module ") == offers
    shapes = shapes_of(session.model)
    for line in offers:
        assert resolve(shapes, line.split()[-1])
    leaves = {line.split()[-1] for line in offers}
    assert {path.rpartition(".")[2] for path in resolve(shapes, "all-linear")} <= leaves


def test_an_adapter_that_was_saved_is_offered_by_its_name(full: Any) -> None:
    full.run("%lora save pirate\n%lora detach pirate")
    assert pressed(full, "%lora open pi") == ["%lora open pirate"]
    full.run("%lora open pirate")
    assert pressed(full, "%lora detach pi") == ["%lora detach pirate"]


def test_modules_classes_and_functions_are_no_data(full: Any) -> None:
    full.run("import random as row_a\nclass row_b: pass\ndef row_c(): pass\nrow_d = [].append")
    full.run("row_e = []")
    assert pressed(full, "%lora train pirate --data ro") == ["%lora train pirate --data row_e"]


def test_models_of_the_notebook_come_first(full: Any) -> None:
    session: Session = getattr(full, KEPT_AS)
    full.user_ns.update(a_row=1, my_model=session.model, my_tokenizer=session.tokenizer)
    assert pressed(full, "%lora use ")[:2] == ["%lora use my_model", "%lora use a_row"]
    assert pressed(full, "%lora use my_model ")[0] == "%lora use my_model my_tokenizer"


NAMES = ["plain.csv", "my mails.csv", "b{r}.csv", "it's.csv", "data/deep.csv", "my data/rows.csv"]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_that_is_completed_is_read_as_that_file(shell: Any, name: str) -> None:
    Path("data").mkdir()
    Path("my data").mkdir()
    for each in [*NAMES, ".hidden.csv"]:
        Path(each).write_text("a => b")
    line = f"%lora train x --data {name[0]}"
    for _ in name.split("/"):
        reached = [(text, expand(split(text)[-1], {})) for text in pressed(shell, line)]
        line = next(text for text, path in reached if name.startswith(path))
    assert expand(split(line)[-1], {}) == name


def test_what_is_quoted_or_doubled_already_goes_on(shell: Any) -> None:
    Path("my data").mkdir()
    Path("my data/rows.csv").write_text("")
    Path("b{r}.csv").write_text("")
    for typed, whole in [('"my data/"r', '"my data/"rows.csv'), ("b{{", "b{{r}}.csv")]:
        start = "%lora train x --data "
        assert pressed(shell, start + typed) == [start + whole]
    # Where the quotes have to move, an older IPython, which replaces less, is offered nothing.
    Path("my data/two words.csv").write_text("")
    for line in pressed(shell, '%lora train x --data "my data/"'):
        assert Path(split(line)[-1]).is_file()


def test_folders_end_in_a_slash_and_hidden_ones_wait_for_their_dot(shell: Any) -> None:
    for folder in ["data", ".kept", "my data"]:
        Path(folder).mkdir()
    Path("rows.csv").write_text("")
    folders = ["data/", '"my data/"']
    assert pressed(shell, "%lora save pirate ")[:2] == [f"%lora save pirate {f}" for f in folders]
    assert pressed(shell, "%lora load .k") == ["%lora load .kept/"]
    assert pressed(shell, '%lora load "my d') == ['%lora load "my data/']
    assert pressed(shell, '%lora load "my data"/') == []
    assert pressed(shell, "%lora load r") == []
    assert pressed(shell, "%lora train x --data r") == ["%lora train x --data rows.csv"]
    shell.run("for_all = 1")
    assert pressed(shell, "%lora train x --data nowhere/for_a") == []


def test_a_path_from_the_persons_home_stays_short(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("people/me/my_models").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(Path("people/me").absolute()))
    assert pressed(shell, "%lora load ~/my") == ["%lora load ~/my_models/"]


def test_an_object_that_cannot_be_looked_at_is_no_error(full: Any, capsys: Any) -> None:
    class Odd:
        @property  # type: ignore[misc]  # a class that lies
        def __class__(self) -> Any:
            raise RuntimeError("not you")

    full.user_ns["odd"] = Odd()
    assert pressed(full, "%lora use od") == ["%lora use odd"]
    assert capsys.readouterr().err == ""


def test_a_session_that_cannot_be_asked_leaves_the_line_to_ipython(full: Any, capsys: Any) -> None:
    setattr(full, KEPT_AS, object())
    assert pressed(full, "%lora detach nobody_h") == []
    assert pressed(full, "%lora att") == ["%lora attach"]
    assert capsys.readouterr().err == ""


# Loading and unloading


def _completers(shell: Any) -> list[int]:
    return [
        len(getattr(shell.Completer, held, ()))
        for held in ("custom_matchers", "magic_arg_matchers")
    ]


def test_what_completes_comes_and_goes_with_the_extension(bare_shell: Any) -> None:
    before = _completers(bare_shell)
    bare_shell.run("%load_ext lora_magic")
    once = _completers(bare_shell)
    assert sum(once) == sum(before) + 1
    lora_magic.load_ipython_extension(bare_shell)
    bare_shell.run("%reload_ext lora_magic")
    assert _completers(bare_shell) == once
    bare_shell.run("%unload_ext lora_magic")
    assert _completers(bare_shell) == before


def test_a_tab_makes_no_session_and_imports_no_torch(tmp_path: Path) -> None:
    code = """
import sys
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("%load_ext lora_magic").raise_error()
from lora_magic.magics.verbs import VERBS
from lora_magic.magics.verbs.looking import VIEWS
seen = 0
for verb in VERBS.values():
    flags = [f"%lora {verb.name} {a.name} " for a in verb.arguments if a.is_flag]
    for line in [*verb.examples, f"%lora {verb.name} ", *flags]:
        with provisionalcompleter():
            seen += len(list(shell.Completer.completions(line, len(line))))
assert seen > 100, seen
assert not hasattr(shell, "_lora_magic_session")
heavy = ["torch", "transformers", "peft", "numpy", "pandas", "plotly", "ipywidgets"]
found = [name for name in heavy if name in sys.modules]
assert not found, found
"""
    run_alone(code, tmp_path)


# Help


@pytest.mark.parametrize("magic", ["%lora", "%%lora"])
def test_help_on_the_magic_lists_every_verb(shell: Any, magic: str) -> None:
    told = shell.object_inspect_text(magic)
    for verb in VERBS.values():
        assert re.search(rf"^ *{verb.name} +{re.escape(verb.summary)}$", told, re.MULTILINE)
    assert "%lora VERB --help" in told
    assert "lists the verbs" in shell.object_inspect_text(magic, detail_level=1)


@pytest.mark.parametrize("magic", ["%lora_train", "%%lora_train"])
def test_help_on_training_names_every_flag_of_it(shell: Any, magic: str) -> None:
    told = shell.object_inspect_text(magic)
    flags = [argument.name for argument in VERBS["train"].arguments if argument.is_flag]
    assert [flag for flag in flags if flag not in told] == []
    assert "=>" in told


@pytest.mark.parametrize("line", ["%lora?", "%lora??", "%%lora?", "%lora_train?", "?%lora"])
def test_a_request_for_help_reaches_no_verb(shell: Any, session: Any, line: str) -> None:
    seen = shell.run(line)
    assert session.calls == []
    assert "lora" in seen.printed + str(shell.payload_manager.read_payload())
