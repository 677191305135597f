import json
from pathlib import Path

import pytest

from perdure.project.schema import FILES, schema

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema"


@pytest.mark.parametrize("file", sorted(FILES))
def test_the_published_schema_is_current(file: str) -> None:
    assert (PUBLISHED / file).read_text() == schema(file)


def test_unknown_keys_are_errors_in_the_schema_too() -> None:
    definitions = json.loads(schema("perdure.json"))["$defs"]
    assert definitions["ProjectTable"]["additionalProperties"] is False
    assert definitions["TaskTable"]["required"] == ["command"]
