"""What every group of settings is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _as_list(value: Any) -> Any:
    """Take one bare string for the list of it, and "" for none: `archives: images.zip` can mean nothing else."""
    if isinstance(value, str):
        return (value,) if value else ()
    return value


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Words = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class Frozen(BaseModel):
    """Frozen, and closed to keys nobody declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
