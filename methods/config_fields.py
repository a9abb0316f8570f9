"""Declares config fields as identity or runtime.

Identity fields change results and are part of the store key. Runtime fields, such as how often a checkpoint is written,
do not change results.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from benchmark.errors import UsageError
from benchmark.json_types import Identity, Settings

CLASSES = ("identity", "runtime")


def identity(default: Any, doc: str, *, added: bool = False, **constraints: Any) -> Any:
    """Declare a field that changes results.

    Args:
        default: default value.
        doc: description of the field, shown to users.
        added: set this for a field that is added to an existing config. The field is then left out of the identity at
            its default, so that the keys of models in existing stores do not change. The default must keep the previous
            behaviour.
        constraints: constraints of pydantic (`gt`, `le`, `min_length`, ...).
    """
    return Field(default, description=doc, json_schema_extra={"class": "identity", "added": added}, **constraints)


def runtime(default: Any, doc: str, **constraints: Any) -> Any:
    """Declare a field that does not change results, for example how often a checkpoint is written."""
    return Field(default, description=doc, json_schema_extra={"class": "runtime"}, **constraints)


def check_classified(model: type[BaseModel]) -> None:
    """Raise UsageError if a field of a config class is declared neither as identity nor as runtime."""
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        if not isinstance(extra, dict) or extra.get("class") not in CLASSES:
            raise UsageError(
                f"Field '{name}' of {model.__name__} is declared neither as identity nor as runtime: "
                "declare it with identity(...) or runtime(...) of methods/config_fields.py."
            )


def identity_of(model: BaseModel) -> Identity:
    """Return the identity fields of a config, including nested configs, as JSON values."""
    fields = type(model).model_fields
    return {
        name: value
        for name, value in settings_of(model).items()
        if not (_extra(fields[name])["added"] and getattr(model, name) == fields[name].default)
    }


def settings_of(model: BaseModel) -> Settings:
    """Return all fields of a config that change results as JSON values, including `added` fields at their defaults."""
    check_classified(type(model))
    dumped = model.model_dump(mode="json")
    settings: Settings = {}
    for name, info in type(model).model_fields.items():
        if _extra(info)["class"] == "identity":
            value = getattr(model, name)
            settings[name] = identity_of(value) if isinstance(value, BaseModel) else dumped[name]
    return settings


def _extra(info: FieldInfo) -> dict[str, Any]:
    assert isinstance(info.json_schema_extra, dict), "check_classified was called before"
    return {"added": False, **info.json_schema_extra}
