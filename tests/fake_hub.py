"""A model hub on loopback that fails in every way that a test asks for.

It keeps repositories in memory and answers the endpoints that `huggingface_hub`
uses. `faults` maps a kind of request (`revision`, `tree`, `file`, ...) to functions
of the request handler that answer in its place, one a request; the last one stays.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

ROUTES = (
    ("whoami", re.compile(r"/api/whoami-v2")),
    ("create", re.compile(r"/api/repos/create")),
    ("yaml", re.compile(r"/api/validate-yaml")),
    ("revision", re.compile(r"/api/models/([^/]+/[^/]+)/revision/(.+)")),
    ("tree", re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)")),
    ("refs", re.compile(r"/api/models/([^/]+/[^/]+)/refs")),
    ("preupload", re.compile(r"/api/models/([^/]+/[^/]+)/preupload/(.+)")),
    ("commit", re.compile(r"/api/models/([^/]+/[^/]+)/commit/(.+)")),
    ("tag", re.compile(r"/api/models/([^/]+/[^/]+)/tag/(.+)")),
    ("repo", re.compile(r"/api/models/([^/]+/[^/]+)")),
    ("batch", re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")),
    ("blob", re.compile(r"/blobs/([0-9a-f]{64})")),
    ("file", re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")),
)


@dataclass
class Repo:
    """One repository: the files of every commit, and names of commits."""

    private: bool = False
    commits: dict = field(default_factory=dict)
    refs: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)

    def commit(self, files):
        old = self.commits.get(self.refs.get("main"), {})
        new = {**old, **files}
        named = json.dumps({k: hashlib.sha256(v).hexdigest() for k, v in new.items()})
        sha = hashlib.sha1(named.encode()).hexdigest()
        self.commits[sha] = new
        self.refs["main"] = sha
        return sha

    def find(self, revision):
        sha = self.refs.get(revision) or self.tags.get(revision) or revision
        return sha if sha in self.commits else None


class FakeHub:
    """The server; `requests` lists what was asked of it, in order."""

    def __init__(self):
        self.repos = {}
        self.blobs = {}
        self.faults = {}
        self.requests = []
        self.token = "hf_right"
        self.released = threading.Event()
        hub = self

        class Handler(_Handler):
            def __init__(self, *arguments):
                self.hub = hub
                super().__init__(*arguments)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()

    def close(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, repo_id, files, tag="v1.0", **traits):
        """Make a repository with one commit; return the commit."""
        repo = self.repos.setdefault(repo_id, Repo(**traits))
        sha = repo.commit(files)
        repo.tags[tag] = sha
        return sha

    def count(self, kind):
        return sum(1 for asked in self.requests if asked[0] == kind)

    def take_fault(self, kind):
        queue = self.faults.get(kind, [])
        if len(queue) > 1:
            return queue.pop(0)
        return queue[0] if queue else None


def is_lfs(name):
    return name.endswith(".safetensors")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        length = int(self.headers.get("content-length", 0))
        self.body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        for kind, pattern in ROUTES:
            if found := pattern.fullmatch(path):
                self.hub.requests.append((kind, self.command, path))
                self.kind, self.found = kind, found.groups()
                fault = self.hub.take_fault(kind)
                if fault is not None:
                    fault(self)
                else:
                    self.answer()
                return
        self.hub.requests.append(("unknown", self.command, path))
        self.fail(404)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - named by the base class

    def answer(self):
        """Answer as a hub that works."""
        getattr(self, f"on_{self.kind}")(*self.found)

    def send(self, content, status=200, kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_value(self, value, **more):
        self.send(json.dumps(value).encode(), **more)

    def fail(self, status, code="", text="", **headers):
        more = {**headers, **({"X_Error_Code": code} if code else {})}
        more |= {"X_Error_Message": text} if text else {}
        self.send_value({"error": text or code}, status=status, **more)

    def cut(self):
        """Drop the connection."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

    def find(self, repo_id, revision):
        repo = self.hub.repos.get(repo_id)
        if repo is None:
            self.fail(404, "RepoNotFound")
            return None, None
        sha = repo.find(revision)
        if sha is None:
            self.fail(404, "RevisionNotFound")
        return repo, sha

    # Reading

    def on_revision(self, repo_id, revision):
        repo, sha = self.find(repo_id, revision)
        if sha:
            names = [{"rfilename": name} for name in repo.commits[sha]]
            self.send_value({"id": repo_id, "sha": sha, "siblings": names})

    def on_tree(self, repo_id, revision):
        repo, sha = self.find(repo_id, revision)
        if sha:
            self.send_value(
                [tree_item(name, data) for name, data in repo.commits[sha].items()]
            )

    def file_content(self):
        repo_id, revision, name = self.found
        repo, sha = self.find(repo_id, revision)
        if sha and name not in repo.commits[sha]:
            self.fail(404, "EntryNotFound")
            return None
        return repo.commits[sha][name] if sha else None

    def on_file(self, *_):
        content = self.file_content()
        if content is not None:
            self.send_range(content)

    def send_range(self, content):
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if start is None:
            self.send(content, kind="application/octet-stream")
            return
        first, last = int(start[1]), len(content) - 1
        self.send(
            content[first:], status=206, kind="application/octet-stream",
            Content_Range=f"bytes {first}-{last}/{len(content)}",
        )  # fmt: skip

    # Writing

    def on_whoami(self):
        if self.headers.get("authorization") == f"Bearer {self.hub.token}":
            self.send_value({"name": "lab", "type": "user"})
        else:
            self.fail(401, text="Invalid credentials in Authorization header")

    def on_create(self):
        asked = json.loads(self.body)
        repo_id = f"{asked['organization']}/{asked['name']}"
        is_private = asked.get("private", asked.get("visibility") == "private")
        self.hub.repos[repo_id] = Repo(private=bool(is_private))
        self.hub.repos[repo_id].commit({".gitattributes": b"*.safetensors lfs\n"})
        self.send_value({"url": f"{self.hub.endpoint}/{repo_id}"})

    def on_repo(self, repo_id):
        repo, sha = self.find(repo_id, "main")
        if sha:
            self.send_value({"id": repo_id, "sha": sha, "private": repo.private})

    def on_refs(self, repo_id):
        repo, sha = self.find(repo_id, "main")
        if sha:
            tags = [
                {"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit}
                for name, commit in repo.tags.items()
            ]
            self.send_value({"branches": [], "converts": [], "tags": tags})

    def on_yaml(self):
        self.send_value({"errors": [], "warnings": []})

    def on_preupload(self, *_):
        asked = json.loads(self.body)["files"]
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_lfs(file["path"]) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in asked
        ]
        self.send_value({"files": files})

    def on_batch(self, _repo_id):
        objects = [
            {
                **item,
                "actions": {
                    "upload": {"href": f"{self.hub.endpoint}/blobs/{item['oid']}"}
                },
            }
            for item in json.loads(self.body)["objects"]
        ]
        self.send_value({"transfer": "basic", "objects": objects})

    def on_blob(self, sha256):
        self.hub.blobs[sha256] = self.body
        self.send(b"")

    def on_commit(self, repo_id, _revision):
        files = {}
        for line in self.body.decode().splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(
                    item["value"]["content"]
                )
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.hub.blobs[item["value"]["oid"]]
        sha = self.hub.repos[repo_id].commit(files)
        url = f"{self.hub.endpoint}/{repo_id}/commit/{sha}"
        self.send_value({"commitUrl": url, "commitOid": sha, "success": True})

    def on_tag(self, repo_id, revision):
        repo = self.hub.repos[repo_id]
        repo.tags[json.loads(self.body)["tag"]] = repo.find(revision)
        self.send_value({})


def tree_item(name, data):
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    item = {"type": "file", "path": name, "size": len(data), "oid": blob}
    if is_lfs(name):
        sha256 = hashlib.sha256(data).hexdigest()
        item["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 130}
    return item
