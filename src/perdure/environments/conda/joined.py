"""What pip is asked for where conda is asked too: one resolution that lives with both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from perdure.environments.conda.provided import constraints
from perdure.environments.manifest import Manifest
from perdure.model.image import CondaPackage

#: A name that no package has.
MARK = "perdure-conda"


def digest_of(packages: Sequence[CondaPackage]) -> str:
    """Return a digest of the packages: 16 hexadecimal digits."""
    text = "\n".join(sorted(f"{each.url} {each.sha256}" for each in packages))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def joined(manifest: Manifest, pip: Sequence[str], packages: Sequence[CondaPackage]) -> Manifest:
    """Return the manifest with the requirements of an environment.yml, bound to what conda brings.

    uv then finds versions of pip's packages that go with conda's, or says why there are none. A
    constraint on a package that there is not tells uv.lock apart where only C libraries changed:
    environments are named after its digest.
    """
    document = dict(manifest.document)
    project = _table(document, "project")
    document["project"] = {**project, "dependencies": [*_list(project, "dependencies"), *pip]}
    tool = _table(document, "tool")
    uv = _table(tool, "uv")
    key = "constraint-dependencies"
    mark = f"{MARK}==0+{digest_of(packages)}"
    bound = {key: [*_list(uv, key), *constraints(packages), mark]}
    document["tool"] = {**tool, "uv": {**uv, **bound}}
    return Manifest.of(document)


def _table(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = table.get(key)
    return found if isinstance(found, Mapping) else {}


def _list(table: Mapping[str, object], key: str) -> list[object]:
    found = table.get(key)
    return list(found) if isinstance(found, list) else []
