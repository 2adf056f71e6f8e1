import pytest

from components.tracking.redact import HIDDEN, is_secret_name, redact, redact_mapping


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("db.password", True), ("HF_TOKEN", True), ("aws-secret-access-key", True), ("api_key", True),
        ("max_new_tokens", False), ("chat_template", False), ("key_value_heads", False), ("author", False),
    ],
)  # fmt: skip
def test_a_name_that_promises_a_secret(name: str, expected: bool) -> None:
    assert is_secret_name(name) is expected


@pytest.mark.parametrize(
    ("text", "planted"),
    [
        ("postgresql://ops:hunter2@db/mlflow", "hunter2"),
        ("https://host/file?token=abcdef123&x=1", "abcdef123"),
        ("key AKIAABCDEFGHIJKLMNOP here", "AKIAABCDEFGHIJKLMNOP"),
        ("ghp_" + "a" * 36, "a" * 36),
        ("Authorization: Bearer abc.def-ghi_jkl", "abc.def-ghi_jkl"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n", "MIIEow"),
    ],
)
def test_the_look_of_a_secret_is_hidden(text: str, planted: str) -> None:
    assert planted not in redact(text)
    assert HIDDEN in redact(text)


def test_known_secrets_are_hidden_and_short_ones_do_not_eat_the_text() -> None:
    assert redact("run with s3cr3t-value", ["s3cr3t-value"]) == f"run with {HIDDEN}"
    assert redact("abc", ["a"]) == "abc"


def test_plain_values_stay() -> None:
    values = {"learning_rate": 1e-3, "path": "artifacts/models", "uri": "sqlite:////tmp/m.db"}
    assert redact_mapping(values) == {
        "learning_rate": "0.001",
        "path": "artifacts/models",
        "uri": "sqlite:////tmp/m.db",
    }


def test_a_secret_key_hides_its_value() -> None:
    assert redact_mapping({"service.password": "x", "empty.password": ""}) == {
        "service.password": HIDDEN, "empty.password": "",
    }  # fmt: skip
