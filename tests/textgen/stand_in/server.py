"""Stand-in for a server of the OpenAI API, with completions, files and batches of the real `openai` client.

    python -m tests.textgen.stand_in.server --port 0 --script script.json --log served.jsonl

prints the base URL as its first line. The keys of the script are the fields of `Script` and, under "batch",
of `BatchScript`. `StandInServer` runs it for a test.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

from tests.textgen.stand_in.answers import CHAT, RESPONSES
from tests.textgen.stand_in.batches import Batches, Refused
from tests.textgen.stand_in.completions import Completions, Reply, Script, make_failure, make_known_failure

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class _Service:
    """Routing of requests, without sockets."""

    def __init__(self, script, log):
        self.script = script
        self.completions = Completions(script, log)
        self._batches = Batches(self.completions)
        self._call_faults = {call: list(faults) for call, faults in script.call_faults.items()}

    def reply(self, method, target, headers, content):
        """Return the reply to a request; `headers` have lower-case names."""
        kind, _, key = headers.get("authorization", "").partition(" ")
        is_known = kind == "Bearer" and key.strip() != "" and self.script.key in ("", key.strip())
        address = urlsplit(target)
        if method == "POST" and address.path in (CHAT, RESPONSES):
            return self.completions.request(address.path, content, is_known)
        call = f"{method} {re.sub(r'(file-|batch_)[^/]+', '{id}', address.path)}"
        waiting = self._call_faults.get(call)
        fault = waiting.pop(0) if waiting and is_known else None
        try:
            if not is_known:
                raise Refused(*make_known_failure("401"))
            if fault not in (None, "reset"):
                raise Refused(*make_known_failure(fault))
            status, shape = 200, self._call(call, address, headers, content)
        except Refused as refused:
            status, shape = refused.args
        outcome = fault or ("answered" if status == 200 else str(status))
        self.completions.record(identity=None, outcome=outcome, paid=False, usage=None, endpoint=call)
        out = shape if isinstance(shape, bytes) else json.dumps(shape).encode()
        return Reply(status, out, "reset" if fault == "reset" else "send")

    def _call(self, call, address, headers, content):
        """Return the result of a call, as JSON or as bytes.

        Raises:
            Refused: if the call is not possible.
        """
        batches, parts = self._batches, address.path.split("/")
        number = parts[3] if len(parts) > 3 else None
        match call:
            case "GET /v1/models":
                models = [
                    {"id": name, "object": "model", "created": 0, "owned_by": "stand-in"} for name in self.script.models
                ]
                return {"object": "list", "data": models}
            case "POST /v1/files":
                return batches.upload(headers.get("content-type", ""), content)
            case "GET /v1/files/{id}":
                return batches.file(number)[0]
            case "GET /v1/files/{id}/content":
                return batches.file(number)[1]
            case "DELETE /v1/files/{id}":
                return batches.delete(number)
            case "POST /v1/batches":
                return batches.create(json.loads(content))
            case "GET /v1/batches":
                query = {name: values[-1] for name, values in parse_qs(address.query).items()}
                return batches.list_page(query.get("after"), int(query.get("limit", 20)))
            case "GET /v1/batches/{id}":
                return batches.retrieve(number)
            case "POST /v1/batches/{id}/cancel":
                return batches.cancel(number)
        raise Refused(*make_failure(404, f"Invalid URL ({call})"))


class _Connection(asyncio.Protocol):
    """Connection that stays open; its requests are answered one after another."""

    def __init__(self, service, loop):
        self._service = service
        self._loop = loop
        self._received = bytearray()
        self._head = None  # of the request whose body is coming in
        self._is_answering = False

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._received += data
        self._read()

    def _read(self):
        """Take a complete request from the received bytes, if there is one."""
        if self._is_answering:
            return
        if self._head is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            del self._received[: end + 4]
            method, target, _ = first.split(" ")
            self._head = method, target, headers, int(headers.get("content-length", 0))
        method, target, headers, length = self._head
        if len(self._received) < length:
            return
        content = bytes(self._received[:length])
        del self._received[:length]
        self._head, self._is_answering = None, True
        self._service.completions.num_waiting += 1
        if "transfer-encoding" in headers:
            self._send(Reply(411, b"", "short"))  # and the connection ends, because the body's end is unknown
            return
        reply, script = self._service.reply(method, target, headers, content), self._service.script
        seconds = script.delay
        if isinstance(seconds, list):
            seconds = Random(content).uniform(*seconds)
        if reply.how == "stall":
            seconds += script.stall_seconds
        if seconds:
            self._loop.call_later(seconds, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply):
        self._is_answering = False
        self._service.completions.num_waiting -= 1
        if self._transport.is_closing():
            return  # the client gave up
        if reply.how == "reset":
            self._transport.abort()
            return
        head = [f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}", "Content-Type: application/json"]
        head += [f"Content-Length: {len(reply.content)}", *(f"{name}: {value}" for name, value in reply.headers)]
        start = "\r\n".join(head).encode() + b"\r\n\r\n"
        if reply.how == "short":
            self._transport.write(start + reply.content[: len(reply.content) // 2])
            self._transport.close()
            return
        self._transport.write(start + reply.content)
        if self._received:
            self._read()


async def _serve(port, script, log):
    loop = asyncio.get_running_loop()
    service = _Service(script, log)
    server = await loop.create_server(lambda: _Connection(service, loop), "127.0.0.1", port, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


class StandInServer:
    """Server in a separate process that runs until the `with` block ends.

    Attributes:
        base_url: "http://127.0.0.1:PORT/v1".
        log: path of the log.
    """

    def __init__(self, script=None, log=None):
        """Configure the server; `script` is a dict or the path of a JSON file, and `log` defaults to a temporary file."""
        self._folder = tempfile.TemporaryDirectory()
        self.log = Path(log or Path(self._folder.name) / "served.jsonl").absolute()
        self._script = Path(self._folder.name) / "script.json"
        self._script.write_text(
            Path(script).read_text() if isinstance(script, (str, Path)) else json.dumps(script or {})
        )

    def __enter__(self):
        command = [sys.executable, "-m", "tests.textgen.stand_in.server", "--port", "0"]
        command += ["--script", str(self._script), "--log", str(self.log)]
        root = Path(__file__).parents[3]
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        self.base_url = self._process.stdout.readline().strip()
        if not self.base_url:
            self.__exit__()
            raise RuntimeError("the stand-in server did not start; its error is above")
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()

    def _lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def served(self):
        """Return the log's lines of completions, direct and in batches."""
        return [line for line in self._lines() if line["identity"]]

    def calls(self):
        """Count the calls of each other endpoint, such as "POST /v1/batches"."""
        return Counter(line["endpoint"] for line in self._lines() if not line["identity"])

    def counts(self):
        """Return sums over `served()`.

        These are `requests`, `identities`, `paid`, `paid_again` (from an identity's second time on), `input_tokens`,
        `output_tokens`, and `outcomes` by name.
        """
        lines = self.served()
        paid = [line for line in lines if line["paid"]]
        return {
            "requests": len(lines),
            "identities": len({line["identity"] for line in lines}),
            "paid": len(paid),
            "paid_again": len(paid) - len({line["identity"] for line in paid}),
            "input_tokens": sum(line["usage"]["input_tokens"] for line in paid),
            "output_tokens": sum(line["usage"]["output_tokens"] for line in paid),
            "outcomes": Counter(line["outcome"] for line in lines),
        }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    script = Script(**json.loads(options.script.read_text())) if options.script else Script()
    asyncio.run(_serve(options.port, script, options.log))


if __name__ == "__main__":
    main()
