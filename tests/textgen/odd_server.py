"""HTTP server of scripted bodies, for answers that no server of the API gives."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class OddServer:
    """Server that is running.

    Attributes:
        base_url: its address.
        bodies: bodies of the requests that it got, in order.
        num_sent: bytes that it could send.
    """

    def __init__(self) -> None:
        self.base_url, self.bodies, self.num_sent = "", [], 0


def make_completion(text, usage=(40, 7), finish_reason="stop"):
    """Return the body of an answer of Chat Completions."""
    shape = {"model": "m", "choices": [{"message": {"content": text}, "finish_reason": finish_reason}]}
    names = ("prompt_tokens", "completion_tokens")
    return json.dumps({**shape, "usage": dict(zip(names, usage, strict=True))}).encode()


@contextmanager
def serve_odd(respond: Callable[..., tuple], *values) -> Iterator[OddServer]:
    """Serve requests by a function of their body and `values`; it returns status, headers, and the bytes or an iterable of pieces."""
    state = OddServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)))
            state.bodies.append(body)
            status, headers, content = respond(body, *values)
            self.send_response(status)
            if isinstance(content, bytes):
                headers = {"Content-Length": str(len(content)), **headers}
                content = [content]
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                for piece in content:
                    self.wfile.write(piece)
                    state.num_sent += len(piece)

        def log_message(self, *_):
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        state.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield state
        server.shutdown()
