"""YAML without surprises: plain values only, and a key stands once.

Imported where a file is read: it needs PyYAML.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from yaml import SafeLoader
from yaml.constructor import ConstructorError

if TYPE_CHECKING:
    from yaml.nodes import MappingNode


class Loader(SafeLoader):
    """PyYAML's safe loader, which would take the last of two equal keys."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """Return the mapping.

        Raises:
            ConstructorError: a key stands twice.
        """
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                told = f"`{key.value}` stands twice"
                raise ConstructorError(None, None, told, key.start_mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        found: dict[Hashable, object] = super().construct_mapping(node, deep=deep)
        return found
