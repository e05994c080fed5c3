"""The JSON Schema of an experiment file, for editors that complete and check."""

from typing import Any

from parak8s import data, models
from parak8s.experiment import Experiment


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12); the settings of each registered loader and builder are part of it."""
    schema = Experiment.model_json_schema()
    definitions = schema["$defs"]
    for section, key, options, registered, settings_of in (
        ("Data", "loader", "options", data.LOADERS, data.loader_type),
        ("ModelSpec", "builder", "params", models.BUILDERS, models.settings_type),
    ):
        conditions = []
        for name in registered:
            # records within are named after their owner: two loaders may each have an Augment
            own = f"{section}.{name}"
            settings = settings_of(name).model_json_schema(ref_template=f"#/$defs/{own}.{{model}}")
            definitions |= {f"{own}.{inner}": record for inner, record in settings.pop("$defs", {}).items()}
            definitions[own] = settings
            found = {"properties": {key: {"const": name}}, "required": [key]}
            then = {"properties": {options: {"$ref": f"#/$defs/{own}"}}}
            conditions.append({"if": found, "then": then})
        definitions[section]["allOf"] = conditions
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "ParaK8s experiment"}
