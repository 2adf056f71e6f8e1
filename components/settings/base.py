"""What every group of settings is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class Frozen(BaseModel):
    """Frozen, and closed to keys nobody declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
