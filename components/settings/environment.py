"""What the environment alone may say: secrets, the tracking store, this process's rank."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

PUBLIC_PATIENT_KEY = "public-key-of-the-sample-corpus"


class Secrets(BaseModel):
    """What comes from the environment only; never logged, never in params."""

    model_config = ConfigDict(frozen=True)
    patient_key: SecretStr
    tracking_uri: str

    @property
    def has_public_key(self) -> bool:
        """Tell whether the patient key is the default, which everybody knows."""
        return self.patient_key.get_secret_value() == PUBLIC_PATIENT_KEY


def load_secrets() -> Secrets:
    """Read the environment; the default patient key is public and fit for the sample corpus alone."""
    return Secrets(
        patient_key=SecretStr(os.environ.get("GMAI_PATIENT_KEY") or PUBLIC_PATIENT_KEY),
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').resolve()}"),
    )


def is_tracking_chosen() -> bool:
    """Tell whether somebody named a tracking store, rather than leave it at the default file."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI"))


def language_model_key() -> str:
    """Return the key of the language model's endpoint, "" when it needs none; never logged, never in params."""
    return os.environ.get("GMAI_LLM_API_KEY", "")


def process_rank() -> int:
    """Return this process's rank among the training processes, 0 when alone (torchrun, SLURM, Lightning)."""
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return max(int(os.environ.get(name) or 0) for name in ("LOCAL_RANK", "NODE_RANK"))


def secret_environment() -> tuple[str, ...]:
    """Return the values of environment variables whose names promise a secret, so that they can be hidden."""
    words = ("PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "PATIENT_KEY")
    return tuple(
        value for name, value in sorted(os.environ.items()) if value and any(w in name.upper() for w in words)
    )
