"""An ordinary user with a project, who types perdure's verbs."""

from __future__ import annotations

from perdure.targets.invocation import container_name
from tests.cli.command import Ended
from tests.engines.engines import RealEngine
from tests.engines.user import OrdinaryUser

PYPROJECT = """\
[project]
name = "cats"
version = "0.1.0"
requires-python = "==3.11.*"
dependencies = ["six==1.16.0"]

[dependency-groups]
dev = []

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
train = ["python", "-c", "import six; print('trained with', six.__version__)"]
"""


class Person:
    """An ordinary user in the folder of a project that needs one small package."""

    def __init__(self, user: OrdinaryUser, engine: RealEngine) -> None:
        self.root = user.home / "my cats"
        self.user = user
        self.engine = engine
        self.variables = {**engine.variables, "BUILDX_CONFIG": str(user.home / "buildx")}
        (self.root / "src" / "cats").mkdir(parents=True)
        (self.root / "src" / "cats" / "__init__.py").write_text("NAME = 'cats'\n")
        (self.root / "data").mkdir()
        self.write(PYPROJECT)

    def write(self, text: str) -> None:
        """Write the project's pyproject.toml."""
        (self.root / "pyproject.toml").write_text(text)
        self.user.give(self.root)

    def perdure(self, *words: str) -> Ended:
        """Return how perdure ended, in the project's folder."""
        return self.user.perdure(*words, cwd=self.root, env=self.variables)

    def docker(self, *words: str, env: dict[str, str] | None = None) -> Ended:
        """Return how the engine's own client ended."""
        variables = {**self.variables, **(env or {})}
        return self.user.run(self.engine.client, *words, cwd=self.root, env=variables)

    @property
    def container(self) -> str:
        """Return the name of the development container."""
        return container_name(self.root, "dev")
