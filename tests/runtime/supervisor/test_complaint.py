from __future__ import annotations

import os

import pytest

from perdure.runtime.supervisor.complaint import Complaint, tell


def test_a_complaint_is_made_once(capfd: pytest.CaptureFixture[str]) -> None:
    complaint = Complaint()
    complaint.say("no space for `\udcff`")
    complaint.say("no space again")
    assert capfd.readouterr().err == "perdure: no space for `\\udcff`\n"


def test_it_needs_nobody_to_hear_it(capfd: pytest.CaptureFixture[str]) -> None:
    kept = os.dup(2)
    os.close(2)
    tell("gone")
    os.dup2(kept, 2)
    os.close(kept)
