"""A job of the laptop that goes on on another machine, and back."""

from __future__ import annotations

import pytest

from tests.e2e.chain import JOB_S, TRAINING, make_chain
from tests.engines.hosts import Laptop

#: Each attempt but the third waits at its end, until it is asked to stop.
_WAITING = """\
    limit = 20 * int(os.environ["PERDURE_GENERATION"])
    while pause and limit <= step < last and limit < 60 and not asked:
        time.sleep(0.02)
"""


@pytest.mark.timeout(JOB_S)
def test_a_job_goes_to_another_machine_and_back(laptop: Laptop) -> None:
    with make_chain(laptop) as chain:
        train = chain.project / "train.py"
        train.write_text(TRAINING.replace("    time.sleep(pause)\n", _WAITING))
        laptop.give(train)
        chain.perdure("run", "--name", "alone", "--seed", "7", "train", "80", "0")
        chain.perdure("run", "--name", "one", "--seed", "7", "-d", "train", "80", "1")
        chain.until_step("one", 20)
        chain.perdure("interrupt", "one")
        chain.perdure("resume", "-d", "one", "--on", "gpu1")
        chain.until_step("one", 40)
        assert chain.job("one")["target"] == "gpu1"
        assert "already running" in chain.perdure("resume", "one", "--on", "local", code=3)
        chain.perdure("interrupt", "one")
        chain.perdure("resume", "one", "--on", "local")
        found = chain.job("one")
        assert (found["target"], found["state"], found["step"]) == ("local", "SUCCEEDED", 80)
        said = chain.perdure("logs", "one")
        assert [line for line in said.splitlines() if line.startswith("from")] == [
            "from step 0",
            "from step 21",
            "from step 41",
        ]
        one, alone = (
            chain.project / "results" / name / "outputs/result" for name in ("one", "alone")
        )
        assert one.read_text() == alone.read_text()
