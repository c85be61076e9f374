"""A stand-in for a hub's HTTP interface, in a thread: what a push needs, and its failures.

It keeps repositories in memory as a hub does: a commit is taken whole or not at all, a file in it
is given by its bytes or by the sha256 of an upload that has arrived. It offers no Xet. Knows HTTP;
knows nothing of lora_magic.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_of_the_stand_in"

#: What a hub keeps as large files, by the end of the name.
LARGE = (".safetensors", ".gguf")


@dataclass
class Repository:
    """Its files by name, and the commits, each with its message and the files after it."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"* lfs\n"})
    commits: list[tuple[str, str, dict[str, bytes]]] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return self.commits[-1][0] if self.commits else "0" * 40


def _as_it_is(name: str, data: bytes) -> bytes:
    return data


def _nothing(what: str) -> None:
    pass


@dataclass
class Hub:
    """What a test looks at; `failures` answers "METHOD what" with a status, headers and a text."""

    url: str = ""
    owners: tuple[str, ...] = ("someone",)
    repositories: dict[str, Repository] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failures: dict[str, tuple[int, dict[str, str], str]] = field(default_factory=dict)
    tamper: Callable[[str, bytes], bytes] = _as_it_is
    during: Callable[[str], None] = _nothing

    @property
    def written(self) -> list[str]:
        """The requests that change something."""
        return [one for one in self.asked if one.split()[1] in ("create", "commit", "upload")]


#: What a request is, by method and path.
ROUTES = (
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/validate-yaml", "yaml"),
    ("POST", r"/api/models/(?P<id>[^/]+/[^/]+)/preupload/main", "preupload"),
    ("POST", r"/api/models/(?P<id>[^/]+/[^/]+)/commit/main", "commit"),
    ("GET", r"/api/models/(?P<id>[^/]+/[^/]+)(/revision/(?P<revision>\w+))?", "info"),
    ("POST", r"/(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/store/(?P<oid>\w{64})", "upload"),
)


class Answers(BaseHTTPRequestHandler):
    """One request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.route()

    def do_PUT(self) -> None:
        self.route()

    def route(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        routes = [
            (what, found)
            for method, pattern, what in ROUTES
            if method == self.command and (found := re.fullmatch(pattern, path))
        ]
        if not routes:
            self.reply(404, f"no route {self.command} {path}")
            return
        ((what, found),) = routes
        self.hub.asked.append(f"{self.command} {what}")
        self.hub.during(what)
        if what in self.hub.failures:
            status, headers, text = self.hub.failures[what]
            self.reply(status, {"error": text} if text else {}, headers)
        elif what != "upload" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            told = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self.reply(401, {"error": "Invalid credentials"}, told)
        else:
            getattr(self, what)(**found.groupdict())

    def reply(self, status: int, values: Any, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(values).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    # The interface

    def whoami(self) -> None:
        self.reply(200, {"type": "user", "name": "someone", "orgs": []})

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in self.hub.owners:
            told = {"X-Error-Message": "You don't have the rights to create a model there"}
            self.reply(403, {}, told)
        elif name in self.hub.repositories:
            self.reply(409, {"error": "You already created this model repo"})
        else:
            private = asked.get("visibility") == "private" or asked.get("private") is True
            self.hub.repositories[name] = Repository(private)
            self.reply(200, {"url": f"{self.hub.url}/{name}"})

    def yaml(self) -> None:
        head = json.loads(self.body)["content"].split("\n---\n")[0].removeprefix("---\n")
        try:
            fields = yaml.safe_load(head)
        except yaml.YAMLError as error:
            self.reply(400, {"errors": [{"message": str(error)}]})
            return
        assert isinstance(fields, dict)
        self.reply(200, {})

    def info(self, id: str, revision: str | None) -> None:
        found = self.hub.repositories.get(id)
        if found is None:
            self.reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        files = [self.sibling(name, data) for name, data in sorted(found.files.items())]
        self.reply(
            200,
            {"id": id, "private": found.private, "sha": revision or found.sha, "siblings": files},
        )

    def sibling(self, name: str, data: bytes) -> dict[str, Any]:
        made: dict[str, Any] = {"rfilename": name, "size": len(data)}
        made["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        if name.endswith(LARGE):
            sha = hashlib.sha256(data).hexdigest()
            made["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 134}
        return made

    def preupload(self, id: str) -> None:
        if id not in self.hub.repositories:
            self.reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for one in json.loads(self.body)["files"]
        ]
        self.reply(200, {"files": files})

    def batch(self, id: str) -> None:
        asked = json.loads(self.body)
        objects = []
        for one in asked["objects"]:
            made = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.uploads:
                made["actions"] = {"upload": {"href": f"{self.hub.url}/store/{one['oid']}"}}
            objects.append(made)
        self.reply(200, {"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self.reply(400, {"error": "other bytes"})
            return
        self.hub.uploads[oid] = self.body
        self.reply(200, {})

    def commit(self, id: str) -> None:
        lines = [json.loads(line) for line in self.body.splitlines() if line]
        there = self.hub.repositories[id]
        header = lines[0]["value"]
        if header.get("parentCommit", there.sha) != there.sha:
            self.reply(412, {"error": "A commit has happened since."})
            return
        files = dict(there.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        there.files = {name: self.hub.tamper(name, data) for name, data in files.items()}
        sha = hashlib.sha1(self.body).hexdigest()
        there.commits.append((sha, header["summary"], files))
        url = f"{self.hub.url}/{id}/commit/{sha}"
        self.reply(200, {"success": True, "commitOid": sha, "commitUrl": url})


@contextmanager
def running() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()
    handler = type("Handler", (Answers,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
