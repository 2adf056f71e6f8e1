"""A local page to ask the champion: `python -m components.serving.demo`. Loopback only, one answer at a time.

It refuses requests that name another host (a page elsewhere cannot reach it through DNS), bodies above the
limit, and anything that is not JSON. Nothing that is sent is written to disk or to a log.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from components.errors import DataError, ProjectError

HOST, PORT = "127.0.0.1", 8765
LARGEST_BODY_BYTES = 24 << 20
LONGEST_QUESTION = 500
Answer = Callable[[bytes, str], str]
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>GMAI-VL Ops</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
label{display:block;margin:1rem 0 .3rem;font-weight:600}
input[type=text]{width:100%;box-sizing:border-box;padding:.5rem}
button{margin-top:1rem;padding:.5rem 1.2rem}img{max-width:100%;max-height:22rem;display:block;margin-top:.6rem}
output{display:block;margin-top:1rem;padding:.8rem;background:#f6f8fa;min-height:1.5rem;white-space:pre-wrap}
small{color:#57606a}</style><h1>Ask the champion</h1>
<form id="form"><label for="image">Image (PNG, JPEG or DICOM)</label><input id="image" type="file" required>
<img id="shown" alt="" hidden><label for="question">Question</label>
<input id="question" type="text" maxlength="500" value="What does the image show?" required>
<button>Ask</button></form><output id="answer" for="image question" aria-live="polite"></output>
<p><small>A demonstration of the pipeline, never a medical device. Nothing leaves this machine.</small></p><script>
const by = name => document.getElementById(name);
by('image').onchange = () => { const file = by('image').files[0];
  by('shown').hidden = !file.type.startsWith('image/'); by('shown').src = URL.createObjectURL(file); };
by('form').onsubmit = async event => { event.preventDefault(); by('answer').textContent = '…';
  const reader = new FileReader();
  reader.onload = async () => {
    const body = JSON.stringify({image: reader.result.split(',')[1], question: by('question').value});
    const reply = await fetch('/answer', {method: 'POST', headers: {'Content-Type': 'application/json'}, body});
    const content = await reply.json(); by('answer').textContent = content.answer || content.error; };
  reader.readAsDataURL(by('image').files[0]); };
</script></html>"""


def make_server(answer: Answer, *, port: int = PORT) -> ThreadingHTTPServer:
    """Make the server on the loopback address; port 0 takes a free one."""
    lock = threading.Lock()

    def one_at_a_time(image: bytes, question: str) -> str:
        with lock:
            return answer(image, question)

    handler = type("DemoHandler", (_Handler,), {"answer": staticmethod(one_at_a_time)})
    return ThreadingHTTPServer((HOST, port), handler)


class _Handler(BaseHTTPRequestHandler):
    """GET / is the page; POST /answer takes {"image": base64, "question": text}."""

    answer: Answer
    timeout = 30
    server_version = "gmai"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page."""
        if not self._is_local():
            self._send(HTTPStatus.FORBIDDEN, {"error": "only this machine may ask"})
        elif self.path != "/":
            self._send(HTTPStatus.NOT_FOUND, {"error": "nothing here"})
        else:
            self._reply(HTTPStatus.OK, PAGE.encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """Answer one question."""
        if not self._is_local():
            self._send(HTTPStatus.FORBIDDEN, {"error": "only this machine may ask"})
            return
        if self.path != "/answer":
            self._send(HTTPStatus.NOT_FOUND, {"error": "nothing here"})
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_BODY_BYTES:
            self.close_connection = True
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"at most {LARGEST_BODY_BYTES} bytes"})
            return
        try:
            image, question = read_request(self.headers.get("Content-Type", ""), self.rfile.read(int(length)))
            self._send(HTTPStatus.OK, {"answer": self.answer(image, question)})
        except ProjectError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": error.what})

    def _is_local(self) -> bool:
        """Say whether the browser means this machine by the name it asked for, and comes from its own page."""
        name = self.headers.get("Host", "").rpartition(":")[0]
        origin = self.headers.get("Origin", "")
        return name in (HOST, "localhost") and origin in ("", f"http://{self.headers.get('Host', '')}")

    def _send(self, status: HTTPStatus, content: dict[str, str]) -> None:
        self._reply(status, json.dumps(content).encode(), "application/json")

    def _reply(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a question may speak of a patient."""


def read_request(kind: str, body: bytes) -> tuple[bytes, str]:
    """Return the image's bytes and the question; DataError when the request is not what the page sends."""
    if kind.partition(";")[0].strip() != "application/json":
        raise DataError("the request must be JSON")
    try:
        content = json.loads(body)
        image = base64.b64decode(content["image"], validate=True)
        question = str(content["question"]).strip()
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise DataError("the request needs an image in base64 and a question") from error
    if not 0 < len(question) <= LONGEST_QUESTION:
        raise DataError(f"a question has 1 to {LONGEST_QUESTION} characters")
    return image, question


def main() -> None:
    """Load the champion once and serve until stopped."""
    from components.serving.predict import ask
    from components.settings import load_settings
    from components.tracking.model_package import open_registry

    parser = argparse.ArgumentParser(description="Ask the champion in a browser, on this machine alone.")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--model", default="champion", help="alias or version")
    chosen, settings = parser.parse_args(), load_settings()
    model = open_registry(settings).load(chosen.model)
    limit = settings.evaluation.max_new_tokens
    server = make_server(
        lambda image, question: ask(model, image, question, max_new_tokens=limit), port=chosen.port
    )
    print(f"http://{HOST}:{server.server_port}  (stop with Ctrl+C)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    try:
        main()
    except ProjectError as error:
        raise SystemExit(str(error)) from error
