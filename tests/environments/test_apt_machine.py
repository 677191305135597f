from pathlib import Path

import pytest

from perdure.environments.apt_machine import AptSettings, machine_apt

MIRROR = """\
# the mirror in the cellar
Types: deb deb-src
URIs: http://me:secret@cellar.invalid/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://vendor.invalid/repo
Suites: bookworm
Components: main
Signed-By: /etc/apt/keyrings/vendor.gpg

Enabled: no
Types: deb
URIs: http://off.invalid/debian
Suites: bookworm
Components: main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    etc = tmp_path / "etc $(x)"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "auth.conf.d").mkdir()
    return etc


def test_a_mirror_is_told_for_the_release_that_it_serves(etc: Path) -> None:
    (etc / "sources.list.d/cellar.sources").write_text(MIRROR)
    (etc / "auth.conf").write_text("machine cellar.invalid login me password secret\n")
    told = machine_apt("bookworm", etc)
    assert told.sources == (
        "Types: deb\nURIs: http://me:secret@cellar.invalid/debian\n"
        "Suites: bookworm\nComponents: main contrib\n\n"
        "Types: deb\nURIs: http://me:secret@cellar.invalid/debian\n"
        "Suites: bookworm-updates\nComponents: main contrib\n"
    )
    assert told.auth == "machine cellar.invalid login me password secret\n"
    assert machine_apt("trixie", etc) == AptSettings()


def test_the_older_format_is_read_too(etc: Path) -> None:
    (etc / "sources.list").write_text(
        "deb [arch=amd64] http://cellar.invalid/debian bookworm main contrib # here\n"
        "deb-src http://cellar.invalid/debian bookworm main\n"
        "# deb http://off.invalid/debian bookworm main\n"
        "deb [signed-by=/etc/own.gpg] http://vendor.invalid bookworm main\n"
        "deb http://cellar.invalid/debian trixie main\n"
    )
    assert machine_apt("bookworm", etc).sources == (
        "Types: deb\nURIs: http://cellar.invalid/debian\nSuites: bookworm\n"
        "Components: main contrib\n"
    )


def test_a_machine_that_uses_debians_own_archive_tells_nothing(etc: Path) -> None:
    (etc / "sources.list").write_text("deb http://deb.debian.org/debian bookworm main\n")
    (etc / "auth.conf.d/x.conf").write_text("machine other.invalid login me password secret\n")
    assert machine_apt("bookworm", etc) == AptSettings()


def test_no_apt_is_no_error(tmp_path: Path) -> None:
    assert machine_apt("bookworm", tmp_path / "nowhere") == AptSettings()
