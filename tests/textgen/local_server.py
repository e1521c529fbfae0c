"""Server in this process, for answers that the stand-in server does not give."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Server:
    """Server in this process that answers every request by a function of its handler; it counts the requests."""

    def __init__(self, act):
        self.act, self.calls, self.bodies = act, Counter(), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                outer.calls[f"{self.command} {self.path.partition('?')[0]}"] += 1
                outer.bodies.append(self.body)
                outer.act(self)

            def do_POST(self):
                self.do_GET()

            def send(self, status, content, **headers):
                written = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(written)))
                self.end_headers()
                self.wfile.write(written)

            def log_message(self, *_):
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.base_url = f"{self.origin}/v1"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
