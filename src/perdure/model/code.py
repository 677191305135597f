"""What of a project's folder is never its code, whoever asks: jobs, the sync, moving."""

from __future__ import annotations

# A job reads and writes the project's own, even where they are tracked.
SHARED = ("data", "results")
# At the top of a project.
NEVER = (*SHARED, ".perdure", ".git")
# Made by tools, wherever they lie: passed over where no .gitignore is obeyed.
CLUTTER = frozenset(
    {
        ".venv",
        "venv",
        "__pycache__",
        "node_modules",
        "build",
        "dist",
        ".tox",
        ".nox",
        ".eggs",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
    }
)
