"""The JSON Schema of the policy file, for editors and CI, and its example; from the models that read the file."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema

from policies.config import PolicyFile
from policies.registry import RULES


def text() -> str:
    """The schema as `policies/policy.schema.json` has it."""
    return (
        json.dumps(
            PolicyFile.model_json_schema(schema_generator=_Schema), indent=2, ensure_ascii=False
        )
        + "\n"
    )


def example_rules() -> Iterator[str]:
    """Every rule as `deploy/base/policy.yaml` has it, line by line: what it refuses, parameters and defaults."""
    for rule in RULES:
        yield f"# {(rule.__doc__ or '').partition(chr(10))[0]}"
        yield f"{rule.id}:" if rule.model_fields else f"{rule.id}: {{}}"
        if rule.model_fields:
            yield "  parameters:"
        defaults = rule().model_dump(mode="json", by_alias=True)
        for default, field in zip(defaults.items(), rule.model_fields.values(), strict=True):
            yield f"    # {field.description}"
            yield f"    {default[0]}: {json.dumps(default[1])}"


class _Schema(GenerateJsonSchema):
    """Without the titles pydantic makes of field names: editors show the names anyway."""

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        return {
            "$schema": self.schema_dialect,
            **super().generate(schema, mode),
            "title": "RayWarden policy",
        }

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
