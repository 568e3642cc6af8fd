"""A configuration written down: as identity of a run, for people, and as a JSON Schema."""

from __future__ import annotations

from typing import Any

from spark_pseudolabel.config.sections import Config
from spark_pseudolabel.redaction import HIDDEN, SECRET, redacted


def identity(config: Config) -> dict[str, Any]:
    """Return what makes a run this run, as plain JSON values.

    Left out: ``spark`` (how it is computed), ``rounds.max`` (a raised limit continues the run),
    ``output.path`` (an output stays itself when its directory is renamed), ``incremental`` (each
    generation keeps its own rule) and ``unlabeled.snapshot`` (what a run reads is settled when it
    begins; whether it is kept, when it ends).
    """
    document = public(config)
    del document["incremental"]
    document["unlabeled"] = {k: v for k, v in document["unlabeled"].items() if k != "snapshot"}
    document["rounds"] = {k: v for k, v in document["rounds"].items() if k != "max"}
    document["output"] = {k: v for k, v in document["output"].items() if k != "path"}
    if document["teacher"] is not None:  # what is not there is no part of it
        document["teacher"] = {k: v for k, v in document["teacher"].items() if v is not None}
    return document


def public(config: Config) -> dict[str, Any]:
    """Return the resolved configuration as it may be written down: no ``spark``, no secrets."""
    document = config.model_dump(mode="json", by_alias=True, exclude={"spark"})
    if not config.of_numbers:  # what labels are was no question before
        for key in ("task", "tolerance", "interval"):
            del document[key]
    labeled = document.get("labeled")
    if isinstance(labeled, dict) and not labeled.get("reviews"):
        labeled.pop("reviews", None)  # a run without them is the run that it always was
    for section in document.values():
        if isinstance(section, dict) and section.get("options"):
            section["options"] = {
                key: HIDDEN if SECRET.search(key) else value
                for key, value in section["options"].items()
            }
    return {key: redacted(section) for key, section in document.items()}


_OTHER_FORMS: dict[str, dict[str, object]] = {
    "labeled": {
        "type": "array",
        "description": "A table, and outputs whose reviewed rows are labeled, too.",
        "minItems": 1,
        "prefixItems": [{"$ref": "#/$defs/LabeledTable"}],
        "items": {
            "type": "object",
            "properties": {"reviews": {"type": "string", "minLength": 1}},
            "required": ["reviews"],
            "additionalProperties": False,
        },
    },
    "incremental": {"type": "boolean", "description": "true: all of its defaults; false: null."},
}
"""What a file may say beside what a configuration is read into."""


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    schema = Config.model_json_schema(by_alias=True)
    for name, form in _OTHER_FORMS.items():
        schema["properties"][name]["anyOf"].append(form)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
