import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from perdure.environments.lock import ensure_lock
from perdure.environments.uv import find_uv
from perdure.environments.wheel_hashes import known_hashes, with_hashes
from perdure.model.project import Project
from perdure.model.settings import Settings

CONTENT = b"a wheel"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
TEXT = """\
[[package]]
name = "own"
source = { editable = "." }

[[package]]
name = "toy"
source = { registry = "../wheels" }
wheels = [
    { path = "toy-1.whl" },
    { path = "gone-1.whl" },
    { path = "sized-1.whl", size = 7 },
    { url = "https://127.0.0.1:9/toy-1.whl" },
]

[[package]]
name = "brought"
source = { path = "vendor/brought-1.whl" }
wheels = [
    { filename = "brought-1.whl", hash = "sha256:00" },
]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("toy", "sized"):
        (folder / f"{name}-1.whl").write_bytes(CONTENT)
    root = tmp_path / "project"
    root.mkdir()
    return root


def test_only_wheels_of_this_machine_that_lack_a_hash_get_one(root: Path) -> None:
    found = with_hashes(TEXT, root, {})
    changed = set(found.splitlines()) - set(TEXT.splitlines())
    assert changed == {
        f'    {{ path = "toy-1.whl", hash = "{DIGEST}" }},',
        f'    {{ path = "sized-1.whl", hash = "{DIGEST}", size = 7 }},',
    }
    assert len(found.splitlines()) == len(TEXT.splitlines())
    assert with_hashes(found, root, {}) == found


def test_a_known_hash_is_taken_until_the_wheel_changes(root: Path) -> None:
    lock, wheel = root / "uv.lock", root / "../wheels/toy-1.whl"
    assert known_hashes(lock) == {}
    time.sleep(0.05)
    lock.write_text(with_hashes(TEXT, root, {}))
    known = known_hashes(lock)
    assert known[wheel] == DIGEST
    assert "sha256:known" in with_hashes(TEXT, root, {wheel: "sha256:known"})
    before = wheel.stat()
    time.sleep(0.05)
    wheel.write_bytes(b"another")
    # As a copy would have it that keeps times.
    os.utime(wheel, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert wheel not in known_hashes(lock)
    assert root / "../wheels/sized-1.whl" in known_hashes(lock)


def test_uv_takes_a_lock_with_these_hashes_for_its_own(project: Project, wheels: Path) -> None:
    lock = ensure_lock(project, Settings()).path
    lines = [line for line in lock.read_text().splitlines() if str(wheels) in line]
    assert [line for line in lines if "{ path" in line]
    assert all("hash" in line for line in lines if "{ path" in line)
    argv = [find_uv(os.environ), "export", "--frozen", "--extra", "cpu", "--no-emit-project"]
    done = subprocess.run(argv, cwd=project.root, capture_output=True, check=True, text=True)
    digest = next(line for line in lines if "+house" in line).partition('hash = "')[2]
    assert digest.partition('"')[0] in done.stdout
