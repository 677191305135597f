"""What `perdure --help` prints: every verb on a line, and the options that all have."""

from __future__ import annotations

from perdure.cli.verbs import GROUPS, VERBS

USAGE = "perdure [-v] [--debug] VERB [options] [TASK [the task's own arguments, untouched]]"

GLOBAL_OPTIONS = (
    ("-h, --help", "show this, or with a verb the verb's own help"),
    ("-v, --verbose", "tell more"),
    ("--debug", "show the traceback of an error (also: PERDURE_DEBUG=1)"),
    ("--version", "show the version"),
)


def help_text() -> str:
    """Return the text of `perdure --help`: each verb on one line, by group."""
    lines = [f"usage: {USAGE}", ""]
    lines.append("Machine-learning runs that carry on after any interruption.")
    for group in GROUPS:
        lines += ["", f"{group}:"]
        lines += [f"  {verb.name:<12}{verb.summary}" for verb in VERBS if verb.group == group]
    lines += ["", "options:"]
    lines += [f"  {option:<16}{meaning}" for option, meaning in GLOBAL_OPTIONS]
    lines += [
        "",
        "`perdure VERB --help` tells a verb's options. Jobs go by name, prefix or `@last`.",
    ]
    return "\n".join(lines) + "\n"
