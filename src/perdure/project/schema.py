"""JSON schemas of the tables people write, for their editors: docs/schema/*.json."""

from __future__ import annotations

import json

import msgspec

from perdure.project.tables import ProjectTable, SettingsTable

FILES = {"perdure.json": ProjectTable, "settings.json": SettingsTable}


def schema(file: str) -> str:
    """Return the text of one of `FILES`: the JSON schema (draft 2020-12) of its table."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps({"$schema": draft, **msgspec.json.schema(FILES[file])}, indent=2) + "\n"
