"""An OpenAI-compatible endpoint on this machine's loopback that answers from a script."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, cast


class FakeEndpoint(ThreadingHTTPServer):
    """Answers from a script of (status, content); the last one repeats."""

    def __init__(self, script: list[tuple[int, object]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = list(script)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast(FakeEndpoint, self.server)
        server.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        server.headers.append(dict(self.headers))
        status, content = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        if callable(content):
            content = content(server.requests[-1])
        text = content if isinstance(content, str) else json.dumps(content)
        usage = {"prompt_tokens": 10, "completion_tokens": 4}
        body = json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
