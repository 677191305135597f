"""What a machine is told when it boots: cloud-init writes two files and runs one of them. Pure.

A cloud-config in JSON, which is YAML. No secrets: whoever is on the machine can read it.
"""

from __future__ import annotations

import inspect
import json

from perdure.clouds.side import signing
from perdure.errors import UsageError

FOLDER = "/opt/perdure"
CONFIG = f"{FOLDER}/config.json"
BOOT = f"{FOLDER}/boot.py"
LOG = "/var/log/perdure.log"

# Behind the text of `signing`. The kit has everything else, this very package first.
_MAIN = '''

def _begin(here, tries=150, pause_s=2.0):
    """Bring perdure from the bucket, and run it; a new machine's role may be late."""
    import io
    import sys
    import zipfile

    with open(os.path.join(here, "config.json")) as file:
        text = file.read()
    config = json.loads(text)
    bucket, _, folder = config["address"].partition("://")[2].partition("/")
    os.environ.setdefault("AWS_REGION", config["region"])
    for left in range(tries, 0, -1):
        try:
            key = folder + "/kit/" + config["kit"] + ".zip"
            packed = fetch(bucket, key, config["region"])
            break
        except (OSError, ValueError, KeyError) as error:
            print("perdure: no kit yet:", error, file=sys.stderr, flush=True)
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
    if cloud != "aws":
        raise UsageError(f"`{cloud}` has no machines that perdure can begin on")
    # Not powered off at once where it fails: the group would start one after the other.
    line = f"python3 {BOOT} >>{LOG} 2>&1 || sleep 60; shutdown -h now"
    content = {
        "write_files": [
            {"path": CONFIG, "permissions": "0644", "content": config},
            {"path": BOOT, "permissions": "0644", "content": boot()},
        ],
        "runcmd": [["sh", "-c", line]],
    }
    return f"#cloud-config\n{json.dumps(content)}\n"


def boot() -> str:
    """Return the program that begins on a machine: standard library only."""
    return inspect.getsource(signing) + _MAIN
