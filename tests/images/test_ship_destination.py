"""Where an image goes is told from how it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.images.ship_destination import Kind, parse_destination


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("cats.sqfs", Kind.SQUASHFS),
        ("/scratch/my images/cats.squashfs", Kind.SQUASHFS),
        ("cats.tar", Kind.ARCHIVE),
        ("some folder/c\u00e4ts $(x).tar", Kind.ARCHIVE),
        ("/srv/images/cats", Kind.ARCHIVE),
        ("./cats", Kind.ARCHIVE),
        ("~/cats", Kind.ARCHIVE),
        ("unix:///run/docker.sock", Kind.ENGINE),
        ("tcp://127.0.0.1:2375", Kind.ENGINE),
        ("ssh://me@gpubox", Kind.ENGINE),
        ("gpubox", Kind.HOST),
        ("me@gpubox.lab", Kind.HOST),
        ("desktop-linux", Kind.HOST),
        ("localhost:5000", Kind.REGISTRY),
        ("localhost:5000/", Kind.REGISTRY),
        ("registry.lab/team/cats:v1", Kind.REGISTRY),
        ("team/cats", Kind.REGISTRY),
    ],
)
def test_the_kind(text: str, kind: Kind) -> None:
    assert parse_destination(text).kind is kind


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a b", "--to", "http://registry.lab/cats", "https://x", "unix://", "ssh:///"),
        *("registry.lab/Cats", "registry.lab/cats:", "registry.lab//cats", "localhost:5000/a:b:c"),
        *("gpubox\n", "/srv/images/", "..", "localhost:999999", "$(x)", "a@b@c"),
    ],
)
def test_what_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is no destination") as caught:
        parse_destination(text)
    assert "cats.sqfs" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["cats.tar.gz", "cats.SQFS", "lab/cats.sif", "cats.TAR", "a.zip"])
def test_a_file_of_another_kind_is_not_taken_for_a_host(text: str) -> None:
    with pytest.raises(UsageError, match="is no destination") as caught:
        parse_destination(text)
    assert "NAME.tar" in (caught.value.hint or "")


def test_a_file_on_another_host_is_refused() -> None:
    with pytest.raises(UsageError, match="is no destination") as caught:
        parse_destination("me@gpubox:/srv/cats.tar")
    assert "`--to me@gpubox`" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("localhost:5000", "localhost:5000/perdure/cats:runtime-1"),
        ("localhost:5000/", "localhost:5000/perdure/cats:runtime-1"),
        ("localhost:5000/team/", "localhost:5000/team/perdure/cats:runtime-1"),
        ("localhost:5000/team/cats", "localhost:5000/team/cats:runtime-1"),
        ("registry.lab/cats:v1", "registry.lab/cats:v1"),
    ],
)
def test_what_an_image_is_called_in_a_registry(text: str, name: str) -> None:
    assert parse_destination(text).reference("perdure/cats:runtime-1") == name


def test_a_home_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert parse_destination("~/cats.tar").path == Path("/home/ada/cats.tar")
