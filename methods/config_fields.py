"""Config fields are either identity (they change results and go into the key) or runtime (device, batch, paths)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from benchmark.errors import UsageError

CLASSES = ("identity", "runtime")


def identity(default: Any, doc: str, **constraints: Any) -> Any:
    """Declare a field that changes results; `constraints` are pydantic's (`gt`, `le`, `min_length`, ...)."""
    return Field(default, description=doc, json_schema_extra={"class": "identity"}, **constraints)


def runtime(default: Any, doc: str, **constraints: Any) -> Any:
    """Declare a field that leaves results alone, such as how often to write a checkpoint."""
    return Field(default, description=doc, json_schema_extra={"class": "runtime"}, **constraints)


def check_classified(model: type[BaseModel]) -> None:
    """Raise `UsageError` for the first field of a config class that is neither identity nor runtime."""
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        if not isinstance(extra, dict) or extra.get("class") not in CLASSES:
            raise UsageError(
                f"Field '{name}' of {model.__name__} is neither identity nor runtime: "
                "declare it with identity(...) or runtime(...) of methods/config_fields.py."
            )


def identity_of(model: BaseModel) -> dict[str, Any]:
    """Return the identity fields of a config as JSON-ready values, nested configs reduced in the same way."""
    check_classified(type(model))
    dumped = model.model_dump(mode="json")
    kept: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra["class"] == "identity":
            value = getattr(model, name)
            kept[name] = identity_of(value) if isinstance(value, BaseModel) else dumped[name]
    return kept
