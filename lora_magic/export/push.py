"""Uploads an export to a hub, after a person has confirmed it, in one commit.

A commit is on the hub whole or not at all, and the folder here stays as it is, whatever the hub
answers. Afterwards the hub's own list of files is compared with the folder's. Knows
huggingface_hub's interface; knows no format, no model and no session. The token is that of the
hub's own library (HF_TOKEN, or `hf auth login`).
"""

from __future__ import annotations

import builtins
import hashlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path
from typing import Any

from lora_magic.base import hub
from lora_magic.errors import CommandError, ExportError, listed
from lora_magic.numbers import size
from lora_magic.paths import quoted
from lora_magic.printable import one_line

from .card import hub_id_of, places
from .folder import files_of
from .job import Job

_LOGIN = "type: !hf auth login (with a token that may write), or set HF_TOKEN"

#: The hub's own file, in every repository.
_ATTRIBUTES = ".gitattributes"

_SECONDS = 20.0

#: Up to this many bytes are uploaded without a progress bar.
_FAST = 100_000_000

#: Files up to this many bytes are searched for paths, but for those that list a tokenizer's words.
_TEXT = 1_000_000
_WORDS = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")


@dataclass(frozen=True)
class Upload:
    """What would be uploaded, and where to: the question for a person.

    `replaced` and `removed` are names of files that the repository has; `exists` says whether it
    is there at all. `remarks` are what a person should know before; `folder` has the files.
    """

    repository: str
    hub: str
    public: bool
    exists: bool
    folder: Path
    files: tuple[tuple[str, int], ...]
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(count for _, count in self.files)

    @property
    def question(self) -> str:
        """In one line, without the answers that it takes."""
        total, count = self.bytes, len(self.files)
        kind = "public: anybody can download it" if self.public else "private"
        where = f"{self.hub}/{self.repository} ({'' if self.exists else 'new, '}{kind})"
        parts = [f"Upload {count} file{'s' * (count != 1)} ({size(total)}) to {where}"]
        parts += [f"replacing {listed(self.replaced, 3)}"] if self.replaced else []
        parts += [f"removing {listed(self.removed, 3)}"] if self.removed else []
        return one_line("; ".join([*parts, *self.remarks]) + "?")


#: Is a person sure? Called with the upload.
Confirm = Callable[[Upload], bool]


def ask(upload: Upload) -> bool:
    """Ask whoever is at the keyboard. Raises `ExportError` if nobody can answer."""
    kernel = not isinstance(builtins.input, types.BuiltinFunctionType)
    try:
        if not kernel and not sys.stdin.isatty():
            raise EOFError
        # A kernel whose notebook is run by a program raises its own RuntimeError.
        return input(f"{upload.question} [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, OSError, RuntimeError, ValueError, AttributeError) as error:
        raise ExportError(
            f"nobody can confirm here: {upload.question} The export is in {upload.folder}; to "
            "upload it without a question, add --yes"
        ) from error


@dataclass(frozen=True)
class Planned:
    """Where an export is to go. `yes` is True to upload without a question, False to ask a person,
    or a function to be asked; `remarks` are what a person should know before. No file may name
    one of the `places`, folders of this computer."""

    repository: str
    public: bool = False
    yes: bool | Confirm = False
    remarks: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


def plan(job: Job, push: object, public: bool, yes: bool | Confirm) -> Planned | None:
    """Read the flags of a push before anything is written; None without one.

    Raises `CommandError` for --public or --yes without --push, and for a name that no repository
    can have; `ExportError` without a token, and while the hub is switched off (HF_HUB_OFFLINE).
    """
    from huggingface_hub import get_token, is_offline_mode

    if push is None:
        if public or yes:
            flag = "--public" if public else "--yes"
            raise CommandError(f"{flag} needs the repository: --push OWNER/NAME")
        return None
    if not isinstance(push, str) or "/" not in push or not hub.looks_like_hub_id(push):
        raise CommandError(
            f"--push {str(push)[:100]}: expected OWNER/NAME, of letters, digits, - _ and ."
        )
    if is_offline_mode():
        raise ExportError("--push: HF_HUB_OFFLINE is set, so the hub is not asked; omit --push")
    if get_token() is None:
        raise ExportError(f"--push {push}: there is no token of the hub; {_LOGIN}")
    own = tuple(place for place, _ in places(job.base))
    return Planned(push, public, yes, _remarks(job), own)


def _remarks(job: Job) -> tuple[str, ...]:
    """What whoever downloads it will miss."""
    alone = job.format in ("peft", "vllm") or job.options.adapter_only
    if not alone or hub_id_of(job.base):
        return ()
    return (
        "its base is on this computer only, so nobody else can load the adapter: export --to "
        "merged instead",
    )


def upload(planned: Planned, folder: Path, replace: bool = False) -> str:
    """Upload a folder's files; returns the address.

    A new repository is private unless `public`. One that has files is refused unless `replace`:
    then the commit replaces files of the same names and removes the others, and the hub keeps
    them in its history. Raises `ExportError` if it is not confirmed, and in one line for whatever
    the hub answers; the folder stays. Raises `KeyboardInterrupt` with no commit made.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    repository, public = planned.repository, planned.public
    files = files_of(folder)
    _refuse_places(planned, folder, files)
    with _told(repository, folder, public):
        there = _there(api, repository)
        asked = _asked(api, planned, there, folder, files)
        _refuse_others(asked, replace)
        confirm = planned.yes if callable(planned.yes) else ask
        if planned.yes is not True and not confirm(asked):
            raise ExportError(f"not uploaded, as you answered; the export is in {folder}")
        if there is None:
            api.create_repo(repository, private=not public)
        # One commit: `upload_folder` may make several.
        operations: list[Any] = [CommitOperationDelete(name) for name in asked.removed]
        operations += [CommitOperationAdd(name, str(folder / name)) for name, _ in files]
        with _bars(asked.bytes > _FAST):
            made = api.create_commit(
                repository,
                operations,
                commit_message=f"Export by lora_magic: {len(files)} files",
                parent_commit=there.sha if there is not None else None,
            )
        _compare(api, repository, made.oid, folder, [name for name, _ in files])
    return f"{api.endpoint}/{repository}"


def _refuse_places(planned: Planned, folder: Path, files: tuple[tuple[str, int], ...]) -> None:
    """Raise `ExportError` for a config that names a folder of this computer, and so a user."""
    for name, count in files:
        if count > _TEXT or Path(name).name in _WORDS:
            continue
        text = (folder / name).read_bytes().decode("utf-8", "ignore")
        if seen := next((place for place in planned.places if place in text), None):
            raise ExportError(
                f"{name} names a folder of this computer ({seen}), which nobody else has, so it "
                f"was not uploaded; the export is in {folder}. Others can load a merged model: "
                "--to merged"
            )


def _there(api: Any, repository: str) -> Any:
    """What the hub says of a repository; None if it has none, or does not show it."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    # Whose token is it? A wrong one would look like a repository that does not exist.
    api.whoami()
    try:
        return api.model_info(repository, timeout=_SECONDS)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return None


def _asked(
    api: Any, planned: Planned, there: Any, folder: Path, files: tuple[tuple[str, int], ...]
) -> Upload:
    """What a person is asked. Raises `ExportError` if the repository is not as public as asked."""
    if there is not None and there.private is planned.public:
        told = ("private", "omit --public") if there.private else ("public", "add --public")
        raise ExportError(
            f"{planned.repository} is {told[0]} on the hub, which an upload does not change; to "
            f"upload to it, {told[1]}, or choose another name. The export is in {folder}"
        )
    has = {one.rfilename for one in there.siblings or []} - {_ATTRIBUTES} if there else set()
    names = {name for name, _ in files}
    return Upload(
        planned.repository,
        api.endpoint,
        public=planned.public,
        exists=there is not None,
        folder=folder,
        files=files,
        replaced=tuple(sorted(has & names)),
        removed=tuple(sorted(has - names)),
        remarks=planned.remarks,
    )


def _refuse_others(asked: Upload, replace: bool) -> None:
    there = sorted([*asked.replaced, *asked.removed])
    if there and not replace:
        raise ExportError(
            f"{asked.repository} has {listed(there, 3)} on the hub, so it is not overwritten; add "
            "--replace, or choose another name: --push OWNER/NAME"
        )


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """Hide the client's progress bars, which a notebook keeps, where an upload takes seconds."""
    from huggingface_hub import utils

    bars: Any = utils  # its names are exported without saying so to type checkers
    if shown or bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()


def _compare(api: Any, repository: str, commit: str, folder: Path, names: Sequence[str]) -> None:
    """Raise `ExportError` unless the hub's files are those of the folder, by their hashes."""
    found = api.model_info(
        repository, revision=commit, files_metadata=True, timeout=_SECONDS
    ).siblings
    by_name = {one.rfilename: one for one in found or []}
    other = [name for name in names if not _is_same(folder / name, by_name.get(name))]
    if other:
        raise ExportError(
            f"{repository} was written, but {listed(other, 3)} differ there from {folder}: upload "
            f"them again with --replace"
        )


def _is_same(path: Path, there: Any) -> bool:
    """A large file has its sha256 on the hub, any other the hash that git gives it."""
    if there is None:
        return False
    with open(path, "rb") as file:
        if there.lfs is not None:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == there.lfs.sha256)
        text = file.read()
    blob = hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False)
    return bool(blob.hexdigest() == there.blob_id)


# What the hub answers


@contextmanager
def _told(repository: str, folder: Path, public: bool) -> Iterator[None]:
    """Every refusal and failure of the hub as one line that says where the export is."""
    from huggingface_hub import logging

    before = logging.get_verbosity()
    # The client logs each of its tries.
    logging.set_verbosity(ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ExportError:
        raise
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, RuntimeError) and cause.__cause__ is not None:
            cause = cause.__cause__
        reason = _reason(cause, repository)
        if reason is None:
            raise
        again = "" if public else " --private"
        raise ExportError(
            f"{repository} was not uploaded: {reason}. The export is whole in {folder}; to upload "
            f"it later, type: !hf upload {repository} {quoted(folder)} .{again}"
        ) from error
    finally:
        logging.set_verbosity(before)


def _reason(error: BaseException, repository: str) -> str | None:
    """Why the hub did not take it; None for an error of our own."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, LocalTokenNotFoundError):
        return f"there is no token of the hub; {_LOGIN}"
    if isinstance(error, HfHubHTTPError):
        return _status(error, repository)
    module = type(error).__module__.partition(".")[0]
    if module in ("httpx", "httpx2", "httpcore", "requests", "hf_xet"):
        return f"the hub cannot be reached ({type(error).__name__})"
    if isinstance(error, OSError | ValueError | RuntimeError):
        # The hub's library raises these for an answer that it cannot read.
        return one_line(str(error))[:200] or type(error).__name__
    return None


def _status(error: Any, repository: str) -> str:
    owner, code = repository.partition("/")[0], error.response.status_code
    words = one_line(error.server_message or "")[:200].rstrip(".")
    more = f" ({words})" if words else ""
    reasons = {
        401: f"the hub does not accept the token{more}; {_LOGIN}",
        402: f"the hub asks for payment: the storage of {owner} is full{more}",
        403: f"the token may not write to {owner}{more}; {_LOGIN}",
        404: f"the hub knows no {owner}, or does not show it to this token{more}",
        409: f"the hub has {repository} already, or another upload to it is running{more}",
        412: f"somebody changed {repository} meanwhile{more}; try again",
        413: f"a file is larger than the hub takes{more}",
        429: f"the hub got too many requests{more}; wait some minutes",
    }
    fails = f"the hub fails with status {code}{more}; try again later"
    return reasons.get(code, fails if code >= 500 else f"the hub answers {code}{more}")
