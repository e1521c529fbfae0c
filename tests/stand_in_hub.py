"""Stand-in for the hub: answers the requests of the `huggingface_hub` client that upload and download a model."""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class StandInHub(ThreadingHTTPServer):
    """Server that keeps the files of repositories in memory and refuses requests with another token."""

    daemon_threads = True

    def __init__(self, token):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.repositories = {}
        self.private = {}
        self.uploads = {}

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, value, status=200, headers=()):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, header in (("Content-Length", str(len(content))), *headers):
            self.send_header(name, header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _is_known(self):
        if self.headers.get("Authorization") == f"Bearer {self.server.token}":
            return True
        self._body()
        self._answer({"error": "Invalid credentials"}, 401)
        return False

    def do_POST(self):
        hub = self.server
        if not self._is_known():
            return
        body = self._body()
        if self.path == "/api/repos/create":
            settings = json.loads(body)
            name = "/".join(filter(None, (settings.get("organization") or "someone", settings["name"])))
            hub.repositories.setdefault(name, {})
            hub.private[name] = settings.get("private", settings.get("visibility") == "private")
            self._answer({"url": f"{hub.address}/{name}", "name": name, "id": name})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main.*", self.path):
            files = [
                {"path": file["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
                for file in json.loads(body)["files"]
            ]  # fmt: skip
            self._answer({"files": files})
        elif match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", self.path):
            objects = [
                {"oid": item["oid"], "size": item["size"],
                 "actions": {"upload": {"href": f"{hub.address}/upload/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]  # fmt: skip
            self._answer({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main.*", self.path):
            files = hub.repositories[match[1]]
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.uploads[value["oid"]]
            self._answer({"commitUrl": f"{hub.address}/{match[1]}/commit/abc", "commitOid": "a" * 40, "success": True})
        else:  # a request to validate a model card
            self._answer({"warnings": [], "errors": []})

    def do_PUT(self):
        content = self._body()
        number = self.path.rsplit("/", 1)[1]
        assert hashlib.sha256(content).hexdigest() == number
        self.server.uploads[number] = content
        self._answer({})

    def do_GET(self):
        hub = self.server
        if not self._is_known():
            return
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main)?(\?.*)?", self.path):
            files = hub.repositories.get(match[1])
            if files is None:
                self._answer({"error": "Repository not found"}, 404, [("X-Error-Code", "RepoNotFound")])
                return
            siblings = [{"rfilename": name} for name in files]
            self._answer({"id": match[1], "modelId": match[1], "sha": "a" * 40, "siblings": siblings, "private": True})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/.*", self.path):
            files = hub.repositories[match[1]]
            self._answer(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": "b" * 40}
                    for name, content in files.items()
                ]
            )
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path):
            content = hub.repositories[match[1]][match[2]]
            tag = hashlib.sha256(content).hexdigest()
            self._answer(content, headers=[("ETag", f'"{tag}"'), ("X-Repo-Commit", "a" * 40)])
        else:
            self._answer({"error": f"no such thing: {self.path}"}, 404)

    do_HEAD = do_GET  # noqa: N815


@contextmanager
def stand_in_hub(token="hf_secret"):
    hub = StandInHub(token)
    Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
