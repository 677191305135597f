import runpy
import sys
from pathlib import Path

import pytest

from perdure.environments import warm


def test_a_distributions_modules_are_known_by_its_files() -> None:
    assert warm.modules({"msgspec"}) == ["msgspec"]
    assert warm.modules({"no-such-package"}) == []


def test_names_and_modules_may_differ() -> None:
    found = warm.modules({"typing-extensions", "scikit-learn"})
    assert found[:2] == ["sklearn", "sklearn.datasets"]


def test_what_cannot_be_imported_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["warm.py", "msgspec"])
    # As for a package whose import ends in an error.
    monkeypatch.setitem(sys.modules, "msgspec", None)
    runpy.run_path(str(Path(warm.__file__)), run_name="__main__")
    assert capfd.readouterr().out == ""
