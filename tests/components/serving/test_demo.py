import base64
import http.client
import json
import threading

import pytest

from components.errors import DataError
from components.serving.demo import LARGEST_BODY_BYTES, make_server, read_request


@pytest.fixture
def asked() -> list[tuple[bytes, str]]:
    return []


@pytest.fixture
def port(asked):
    def answer(image: bytes, question: str) -> str:
        asked.append((image, question))
        if image == b"broken":
            raise DataError("neither PNG, JPEG nor DICOM", where="/secret/path")
        return f"{len(image)} bytes"

    server = make_server(answer, port=0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def send(port: int, method: str, path: str, body: bytes = b"", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    reply = connection.getresponse()
    return reply.status, reply.read(), dict(reply.getheaders())


def question(image: bytes = b"abc", text: str = "What?") -> bytes:
    return json.dumps({"image": base64.b64encode(image).decode(), "question": text}).encode()


def test_the_page_asks_and_is_answered(port: int, asked) -> None:
    status, page, headers = send(port, "GET", "/")
    assert (status, b"<form" in page) == (200, True)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"http://" not in page.replace(b"http://127.0.0.1", b"")
    status, body, _ = send(port, "POST", "/answer", question())
    assert (status, json.loads(body)) == (200, {"answer": "3 bytes"})
    assert asked == [(b"abc", "What?")]


def test_a_bad_image_is_explained_without_paths(port: int) -> None:
    status, body, _ = send(port, "POST", "/answer", question(b"broken"))
    assert (status, json.loads(body)) == (400, {"error": "neither PNG, JPEG nor DICOM"})


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "http://evil.example"}]
)
def test_other_hosts_and_pages_are_refused(port: int, asked, headers: dict[str, str]) -> None:
    assert send(port, "POST", "/answer", question(), **headers)[0] == 403
    assert send(port, "GET", "/", **headers)[0] == 403
    assert asked == []


def test_too_much_is_refused_before_it_is_read(port: int, asked) -> None:
    status, _, _ = send(port, "POST", "/answer", b"", **{"Content-Length": str(LARGEST_BODY_BYTES + 1)})
    assert status == 413
    assert asked == []


def test_unknown_paths_are_not_found(port: int) -> None:
    assert send(port, "GET", "/../etc/passwd")[0] == 404
    assert send(port, "POST", "/")[0] == 404


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", question()),
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b'{"image": "%%%", "question": "x"}'),
        ("application/json", b'{"image": 5, "question": "x"}'),
        ("application/json", question(text="  ")),
        ("application/json", question(text="x" * 501)),
    ],
)
def test_requests_the_page_does_not_send_are_refused(kind: str, body: bytes) -> None:
    with pytest.raises(DataError):
        read_request(kind, body)
