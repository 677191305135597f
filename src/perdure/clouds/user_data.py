"""What a machine is told when it boots: two files are written, and one of them is run. Pure.

For cloud-init a cloud-config in JSON, which is YAML; for SkyPilot a script. No secrets:
whoever is on the machine can read it.
"""

from __future__ import annotations

import inspect
import json
from types import MappingProxyType

from perdure.clouds.side import signing, tokens
from perdure.errors import UsageError

FOLDER = "/opt/perdure"
CONFIG = f"{FOLDER}/config.json"
BOOT = f"{FOLDER}/boot.py"
LOG = "/var/log/perdure.log"

# A unit of its own: at a power button's press systemd has the program save while there is still a
# network, and Docker. What cloud-init itself has started is told only after both are gone
# (`KillMode=process`). As long as the longest notice of any provider.
_UNIT = " ".join(
    (
        "systemd-run --wait --collect --quiet --unit=perdure",
        "--property=KillMode=mixed --property=TimeoutStopSec=120",
        "--property='After=network-online.target docker.service'",
        f"--property=StandardOutput=append:{LOG} --property=StandardError=append:{LOG}",
        f"python3 {BOOT}",
    )
)
# Not powered off at once where it fails: the group would start one after the other.
_ONCE = "{begin} || sleep 60; shutdown -h now"
_LINES = MappingProxyType(
    {
        "aws": _ONCE,
        "gcp": _ONCE,
        # A machine that turns itself off is kept there, and paid for: whoever was not taken away by
        # the event that ended its turn goes on, and whoever could not begin tries again. Its group
        # at 0 deletes it.
        "azure": "until {begin}; do sleep 120; done; sleep 60; shutdown -h now",
    }
)
# How a machine reads its bucket before it has anything, in the text of the module behind which this
# stands.
_READING = MappingProxyType(
    {
        "aws": 'return fetch(bucket, key, config["region"])',
        "gcp": "return fetch_google(bucket, key)",
        "azure": 'return fetch_azure(config["storage"], bucket, key)',
        # SkyPilot has put it beside this file, whatever bucket it was in.
        "sky": 'return open(os.path.dirname(__file__) + "/kit.zip", "rb").read()',
        # A folder that all machines have: of a file server, or in tests.
        "file": 'return open("/" + bucket + "/" + key, "rb").read()',
    }
)
# That module, and how a machine sets its own group to 0 when it has nothing else.
_ENDING = MappingProxyType(
    {
        "aws": (signing, 'end_group(config["region"], config["group"])'),
        "gcp": (tokens, 'end_google(config["owner"], config["region"], config["group"])'),
        "azure": (tokens, 'end_azure(config["owner"], config["group"])'),
        # The exit code says it there.
        "sky": (None, "return None"),
    }
)
# Below the home of the user that SkyPilot made; it is root there that runs, as on other machines.
SKY_KIT = "~/perdure/kit.zip"
_SCRIPT = """\
set -eu
here="$HOME/perdure"
mkdir -p "$here"
cat >"$here/config.json" <<'END-OF-FILE'
{config}
END-OF-FILE
cat >"$here/boot.py" <<'END-OF-FILE'
{boot}END-OF-FILE
PATH="$HOME/.local/bin:$PATH"
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -E env HOME=$HOME PATH=$PATH"
exec $as_root uv run --quiet --no-config --no-project --python ">=3.11" "$here/boot.py"
"""
_HEAD = "import hashlib\nimport json\nimport os\n"
# Behind that text. The kit has everything else, this very package first. An older Python reads
# it as well, and says that it is one.
_MAIN = '''
import sys
import time

def _read(bucket, key, config):
    {reading}


def _end(config):
    {ending}


def _over(config, why):
    """Have no machine follow this one, which cannot ask the bucket; return 0 once none does."""
    print("perdure: no machine is to follow:", why, file=sys.stderr, flush=True)
    try:
        _end(config)
    except (OSError, ValueError, KeyError) as error:
        print("perdure: the group cannot be set to 0:", error, file=sys.stderr, flush=True)
        return 1
    return 0


def _begin(here, tries=150, pause_s=2.0):
    """Bring perdure from the bucket, and run it; a new machine's role may be late."""
    import hashlib
    import io
    import zipfile

    with open(os.path.join(here, "config.json")) as file:
        text = file.read()
    config = json.loads(text)
    if config["until"] is not None and time.time() > config["until"]:
        return _over(config, "the time of the job is long over")
    if sys.version_info < (3, 11):
        found = ".".join(map(str, sys.version_info[:2]))
        return _over(config, "python3 of the image is " + found + ", and has to be 3.11 or newer")
    place = config["address"].partition("://")[2].lstrip("/")
    bucket, _, folder = place.partition("/")
    os.environ.setdefault("AWS_REGION", config["region"])
    refused = 0
    for left in range(tries, 0, -1):
        try:
            packed = _read(bucket, folder + "/kit/" + config["kit"] + ".zip", config)
            break
        except (OSError, ValueError, KeyError) as error:
            print("perdure: no kit yet:", error, file=sys.stderr, flush=True)
            code = getattr(error, "code", 0)
            refused = refused + 1 if code == 403 else 0
            if left == 1 and (isinstance(error, FileNotFoundError) or code == 404):
                return _over(config, "there is no such bucket any more")
            # Refused so often in a row, the role is not late any more: the next one's is the same.
            if left == 1 and refused * 2 >= tries:
                return _over(config, "the bucket does not let machines read it")
            if left == 1:
                return 1
            time.sleep(pause_s)
    if hashlib.sha256(packed).hexdigest()[:16] != config["kit"]:
        print("perdure: the kit is not what its name says", file=sys.stderr)
        return 1
    kit = os.path.join(here, "kit")
    zipfile.ZipFile(io.BytesIO(packed)).extractall(kit)
    sys.path.insert(0, kit)
    from perdure.instance.program import main

    return main(text, os.path.join(here, "project"))


if __name__ == "__main__":
    raise SystemExit(_begin(os.path.dirname(os.path.abspath(__file__))))
'''


def user_data(config: str, cloud: str) -> str:
    """Return the user-data of a machine whose program is to read `config`.

    Raises:
        UsageError: the cloud has no machine that could read it.
    """
    if cloud == "sky":
        return _script(config)
    if cloud not in _LINES:
        raise UsageError(f"`{cloud}` has no machines that perdure can begin on")
    content = {
        "write_files": [
            {"path": CONFIG, "permissions": "0644", "content": config},
            {
                "path": BOOT,
                "permissions": "0644",
                "content": boot(cloud, is_folder=_is_folder(config)),
            },
        ],
        "runcmd": [["sh", "-c", _LINES[cloud].format(begin=_UNIT)]],
    }
    return f"#cloud-config\n{json.dumps(content)}\n"


def _script(config: str) -> str:
    """Return what SkyPilot is to run: the same program, by the machine's own uv."""
    text = boot("sky", is_folder=_is_folder(config))
    return _SCRIPT.replace("{config}", config).replace("{boot}", text)


def _is_folder(config: str) -> bool:
    return bool(json.loads(config)["address"].startswith("file:"))


def boot(cloud: str, *, is_folder: bool = False) -> str:
    """Return the program that begins on a machine: standard library only.

    `is_folder`: its bucket is a folder that all machines have.
    """
    module, ending = _ENDING[cloud]
    text = _HEAD if module is None else inspect.getsource(module)
    reading = _READING["file" if is_folder else cloud]
    return text + _MAIN.replace("{reading}", reading).replace("{ending}", ending)
