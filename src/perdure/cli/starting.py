"""What follows once a job has been started: its name and nothing more, or all that it says."""

from __future__ import annotations

from perdure.cli.render import Console
from perdure.model.job import JobRecord


def follow_started(record: JobRecord, console: Console, *, detach: bool, after: int = 0) -> int:
    """Return the job's own exit code after following it, or 0 at once where it is detached.

    Attempts up to `after` are not shown.
    """
    if detach:
        console.write(f"{record.job}\n")
        return 0
    from perdure.cli.following import Follower, after_words

    console.say(f"job `{record.job}`: {record.task}; Ctrl-C saves and stops it")
    code = Follower(record.folder, console, after=after).run()
    words = after_words(record.job, code)
    if words:
        console.say(words)
    return code
