from pathlib import Path

import pytest

from perdure.environments.machine import (
    find_links,
    local_folder,
    machine_settings,
    masked,
    pip_files,
    pip_options,
    read_files,
)


def test_a_machine_that_says_nothing_adds_nothing() -> None:
    assert machine_settings({"HOME": "/home/me", "PATH": "/bin"}) == {}


def test_pips_options_are_said_in_uvs_variables() -> None:
    text = """
[global]
index-url = https://me:secret@mirror.example/simple
cert = /etc/ca.pem
client-cert = /etc/me.pem
proxy = proxy.example:3128
trusted-host = a.example
    b.example:8443
timeout = 180.0
no-index = true
"""
    assert machine_settings({}, [text]) == {
        "UV_DEFAULT_INDEX": "https://me:secret@mirror.example/simple",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "SSL_CLIENT_CERT": "/etc/me.pem",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "UV_INSECURE_HOST": "a.example b.example:8443",
        "UV_HTTP_TIMEOUT": "180",
        "UV_NO_INDEX": "1",
    }


def test_stronger_files_and_sections_and_variables_win() -> None:
    texts = [
        "[global]\ncert = one\nindex-url = https://one.example\n[install]\ncert = two\n",
        "[global]\nindex_url = https://two.example\n[list]\ncert = ignored\n",
    ]
    assert pip_options({"PIP_CERT": "three", "PIP_PROXY": ""}, texts) == {
        "cert": "three",
        "index-url": "https://two.example",
    }


def test_what_uv_was_told_wins() -> None:
    text = (
        "[global]\nindex-url = https://pip.example\nextra-index-url = https://x.example\ncert = a\n"
    )
    told = {"UV_DEFAULT_INDEX": "https://uv.example", "SSL_CERT_FILE": "/b", "PIP_PROXY": "p:1"}
    assert machine_settings(told | {"https_proxy": "http://q"}, [text]) == {}
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"):
        found = machine_settings({name: "https://uv.example"}, [text])
        assert set(found) == {"SSL_CERT_FILE"}


def test_extra_indexes_are_merged_as_pip_merges_them() -> None:
    extra = "extra-index-url = https://x.example\n  https://y.example\n"
    assert machine_settings({}, [f"[global]\n{extra}"]) == {
        "UV_INDEX": "https://x.example https://y.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    # uv's default index is its last one; the machine's main index is to be the first.
    main = "index-url = https://main.example\n"
    assert machine_settings({}, [f"[global]\n{main}{extra}"]) == {
        "UV_INDEX": "https://main.example https://x.example",
        "UV_DEFAULT_INDEX": "https://y.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_folders_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    text = (
        f"[global]\nextra-index-url = {there.as_uri()} file:///nowhere/simple\n"
        f"find-links = {there}\n  /nowhere\n  https://links.example/page.html\n"
    )
    found = machine_settings({}, [text])
    assert found["UV_INDEX"] == there.as_uri()
    assert found["UV_FIND_LINKS"] == f"{there},https://links.example/page.html"
    assert find_links({}, [text]) == (there,)


def test_folders_of_wheels_are_known_from_uv_too(tmp_path: Path) -> None:
    assert find_links({"UV_FIND_LINKS": f"{tmp_path},/nowhere", "PIP_FIND_LINKS": "/x"}, []) == (
        (tmp_path,)
    )
    assert find_links({"PIP_FIND_LINKS": tmp_path.as_uri()}, []) == (tmp_path,)


@pytest.mark.parametrize(
    "text", ["not a file of pip's", "[global\n", "[global]\nx\n", "[global]\na = 1\na = 2\n", "\0"]
)
def test_a_file_that_is_broken_is_passed_over(text: str) -> None:
    assert machine_settings({}, [text]) == {}


def test_a_timeout_that_is_none_is_passed_over() -> None:
    for text in ("soon", "inf", "nan"):
        assert "UV_HTTP_TIMEOUT" not in machine_settings({"PIP_TIMEOUT": text})


def test_percent_signs_are_not_interpolated() -> None:
    text = "[global]\nindex-url = https://me:p%40ss@mirror.example/simple\n"
    assert machine_settings({}, [text])["UV_DEFAULT_INDEX"].startswith("https://me:p%40ss@")


def test_pips_files_in_pips_order() -> None:
    environ = {
        "HOME": "/home/me",
        "XDG_CONFIG_DIRS": "/x:/y",
        "PIP_CONFIG_FILE": "/named.conf",
        "VIRTUAL_ENV": "/venv",
    }
    files = [str(file) for file in pip_files(environ, "linux")]
    assert files[:6] == [
        "/y/pip/pip.conf",
        "/x/pip/pip.conf",
        "/etc/pip.conf",
        "/home/me/.pip/pip.conf",
        "/home/me/.config/pip/pip.conf",
        "/venv/pip.conf",
    ]
    assert files[-1] == "/named.conf"
    assert any("/Library/" in str(file) for file in pip_files({"HOME": "/Users/me"}, "darwin"))
    assert Path("/cfg/pip/pip.conf") in pip_files(
        {"HOME": "/h", "XDG_CONFIG_HOME": "/cfg"}, "linux"
    )


def test_pip_can_be_told_to_read_no_file() -> None:
    assert pip_files({"HOME": "/h", "PIP_CONFIG_FILE": "/dev/null"}) == ()
    assert pip_files({}, "linux")[0] == Path("/etc/xdg/pip/pip.conf")


def test_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"[global]\ncert = \xff\n")
    assert len(read_files([tmp_path / "missing", tmp_path, tmp_path / "a"])) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at https://me:secret@x.example/simple end", "at https://***@x.example/simple end"),
        ("`https://token@x.example`", "`https://***@x.example`"),
        ("https://x.example/a@b mail me@x.example", "https://x.example/a@b mail me@x.example"),
        (
            "https://a:b@c.example https://d:e@f.example",
            "https://***@c.example https://***@f.example",
        ),
        ("https://a:p@ss@c.example/x", "https://***@c.example/x"),
    ],
)
def test_passwords_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_a_place_is_a_folder_or_elsewhere() -> None:
    assert local_folder("file:///a%20b") == Path("/a b")
    assert local_folder("/a b") == Path("/a b")
    assert local_folder("https://x.example") is None
