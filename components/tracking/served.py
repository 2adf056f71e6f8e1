"""MLflow's side of a model served from code: the base class and the hook that the code file calls.

Loaded by `components/serving/pyfunc_model.py` alone, so importing MLflow at the top is what it is for.
"""

from __future__ import annotations

import mlflow.models
from mlflow.pyfunc import PythonModel

__all__ = ["PythonModel", "serve"]


def serve(model: PythonModel) -> None:
    """Tell MLflow that this is the model of the code file being run."""
    mlflow.models.set_model(model)
