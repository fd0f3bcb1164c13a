"""The JSON Schema of the policy file and its example, generated from the models that read it."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema

from policies.config import PolicyFile
from policies.registry import RULES


def text() -> str:
    """The content of `policies/policy.schema.json`."""
    return text_of(PolicyFile, "RayWarden policy")


def text_of(model: type[BaseModel], title: str) -> str:
    """The JSON Schema (draft 2020-12) of the file that a model describes."""
    schema = model.model_json_schema(schema_generator=_Schema)
    return json.dumps({**schema, "title": title}, indent=2, ensure_ascii=False) + "\n"


def example_rules() -> Iterator[str]:
    """The rules in `deploy/base/policy.yaml`, line by line, with their parameters and defaults."""
    for rule in RULES:
        summary, _, _ = (rule.__doc__ or "").partition("\n")
        yield f"# {summary}"
        if not rule.model_fields:
            yield f"{rule.id}: {{}}"
            continue
        yield f"{rule.id}:"
        yield "  parameters:"
        defaults = rule().model_dump(mode="json", by_alias=True)
        for name, field in zip(defaults, rule.model_fields.values(), strict=True):
            yield f"    # {field.description}"
            yield f"    {name}: {json.dumps(defaults[name])}"


class _Schema(GenerateJsonSchema):
    """Omits the titles that pydantic derives from field names: editors show the names anyway."""

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        return {"$schema": self.schema_dialect, **super().generate(schema, mode)}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
