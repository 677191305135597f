"""What the documentation says can be done: links lead somewhere, commands exist, figures agree."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, relative

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def names(path: Path) -> str:
    return relative(path)


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links, but for those that leave the repository."""
    without_code = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(without_code):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def anchors(page: Path) -> set[str]:
    """Return the names that a page's headings can be reached by, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command in a page's `console` blocks."""
    for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
        lines = text.splitlines() if kind == "console" else []
        for line in lines:
            if line.startswith("$ "):
                yield shlex.split(line.removeprefix("$ "), comments=True)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_commands_are_verbs(page: Path) -> None:
    from perdure.cli.verbs import VERBS

    verbs = {verb.name for verb in VERBS}
    used = {words[1] for words in commands(page) if words[0] == "perdure" and len(words) > 1}
    assert {word for word in used if not word.startswith("-")} <= verbs


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_options_exist(page: Path) -> None:
    """Each option before a task's name is one that the verb's parser knows."""
    from perdure.cli.parser import build_parser
    from perdure.cli.verbs import find_verb

    unknown = []
    for words in commands(page):
        verb = find_verb(words[1]) if words[0] == "perdure" and len(words) > 1 else None
        if verb is None:
            continue
        known = build_parser(verb).takes_value
        unknown += [f"{verb.name} {word}" for word in own_options(words[2:], known)]
    assert unknown == []


def own_options(words: list[str], known: dict[str, bool]) -> Iterator[str]:
    """Yield the options that are not known; those behind a plain word are the task's own."""
    waiting = False
    for word in words:
        if waiting:
            waiting = False
        elif word == "--" or (not word.startswith("-") and "-d" in known):
            return
        elif word.startswith("-"):
            if word not in known:
                yield word
            waiting = known.get(word, False)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_scripts_exist(page: Path) -> None:
    used = {words[0] for words in commands(page) if words[0].startswith(("scripts/", ".ci/"))}
    assert {script for script in used if not (ROOT / script).is_file()} == set()


def test_the_readme_has_two_commands_first() -> None:
    first = [words[0] for words in commands(ROOT / "README.md")][:2]
    assert first == ["scripts/demo", "scripts/test"]


def test_the_figures_in_the_readme_are_those_measured() -> None:
    from benchmarks import table

    if table.RESULTS.exists():
        expected = table.table(table.read(table.RESULTS))
    else:
        expected = "Not measured on this version yet"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split(table.BEGIN)[1].split(table.END)[0].strip()
    assert shown.startswith(expected)


def test_every_page_is_reached_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md" and page.exists():
            seen.add(page)
            waiting += [(page.parent / target.split("#")[0]).resolve() for target in links(page)]
    assert {relative(page) for page in PAGES if page.parent != ROOT} <= {
        relative(page) for page in seen
    }


def test_every_dependency_is_explained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["cli"],
        *project["dependency-groups"]["test"],
        *project["build-system"]["requires"],
    ]
    packages = {re.split(r"[<>=\[ ]", requirement)[0] for requirement in asked}
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    assert {name for name in packages if not re.search(rf"\b{name}\b", explained)} == set()


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[a](gone.md) [b](https://example.org) ```\n[c](code.md)\n```\n# Two words, here\n"
    )
    assert "gone.md" in set(links(page))
    assert "https://example.org" not in set(links(page))
    assert anchors(page) == {"two-words-here"}
