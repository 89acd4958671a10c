"""Reading cards: YAML checked against a typed schema that refuses unknown fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stvsr_bench.core.errors import CardError, nearest

Card = TypeVar("Card", bound=BaseModel)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        CardError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except OSError as error:
        raise CardError(f"cannot read '{path}'", got=error.strerror, action="create the file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CardError(f"'{path}' is not valid YAML", got=" ".join(str(error).split())) from error
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise CardError(f"'{path}' is not a mapping of names to values", got=type(value).__name__)
    return value


def load_card(path: Path, schema: type[Card]) -> Card:
    """Read the card at ``path`` and check it against ``schema``.

    Raises:
        CardError: unreadable, a missing or unknown field, or a value of another type; every fault is listed.
    """
    data = read_yaml(path)
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise CardError(
            f"card '{path}' breaks its schema",
            got="; ".join(_fault(e, schema) for e in error.errors()),
            accepted=f"the fields of {schema.__module__}.{schema.__qualname__}",
            action="correct the card, then `stvsr-bench validate`",
        ) from error


def _fault(error: Any, schema: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    text = f"{where}: {error['msg']}"
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        close = nearest(str(error["loc"][0]), schema.model_fields)
        text = f"{where}: unknown field" + (f" (nearest: {', '.join(close)})" if close else "")
    return text
