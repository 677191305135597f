"""The verbs of the command line, as data: what `--help`, the parser and the reference come from.

Plain tuples: `perdure --help` imports this module.
"""

from __future__ import annotations

from perdure.cli.verb import Verb

START, RUN, DEVELOP, MOVE, STOP, LOOK, SERVE, PROVE, SETUP = (
    "start a project",
    "run",
    "develop in a container",
    "move to and from hosts and buckets",
    "stop and go on",
    "look",
    "in the browser",
    "prove and compare",
    "set up",
)
GROUPS = (START, RUN, DEVELOP, MOVE, STOP, LOOK, SERVE, PROVE, SETUP)

VERBS = (
    Verb(
        "new",
        START,
        "make a project from the template",
        "NAME",
        ("perdure new cats", "perdure new cats --yes"),
    ),
    Verb(
        "demo",
        START,
        "train, interrupt, resume and compare, in a project made for it",
        "[DIR]",
        ("perdure demo", "perdure demo --in docker", "perdure demo /tmp/digits"),
    ),
    Verb(
        "adopt",
        START,
        "make an existing repository a project (asks first; commits nothing)",
        "[DIR]",
        ("perdure adopt --explain", "perdure adopt ~/work/cats --yes"),
    ),
    Verb(
        "upgrade",
        START,
        "bring a project up to the installed template, by a merge that keeps its edits",
        "",
        ("perdure upgrade --explain", "perdure upgrade"),
    ),
    Verb(
        "run",
        RUN,
        "run a task, or any command, as a job",
        "TASK [the task's own arguments]",
        (
            "perdure run train --epochs 3",
            "perdure run -d --seed 7 train",
            "perdure run --on docker --gpus 1 train --epochs 3",
            "perdure run -- python -m cats.train --epochs 3",
            "perdure run --explain train",
        ),
    ),
    Verb(
        "sweep",
        RUN,
        "run a task with all values of some axes, as jobs; or look after such a sweep",
        "TASK AXIS=VALUES... [-- the task's own arguments] | status|results|retry|stop|resume|"
        "extend [NAME]",
        (
            "perdure sweep train lr=1e-3,1e-4 seed=0..4 -- --epochs 3",
            "perdure sweep train lr=1e-5..1e-1:log:5 --max-running 8 --name rates",
            "perdure sweep --file sweep.toml",
            "perdure sweep status rates",
            "perdure sweep results rates --csv",
            "perdure sweep results rates --plot rates.svg",
            "perdure sweep retry --failed rates",
            "perdure sweep extend rates seed=5..9",
        ),
    ),
    Verb(
        "attach",
        RUN,
        "open a shell where a job runs",
        "JOB [-- COMMAND...]",
        ("perdure attach @last", "perdure attach @last -- nvidia-smi"),
    ),
    Verb(
        "up",
        DEVELOP,
        "make and start the development container",
        "",
        ("perdure up", "perdure up --gpus all --git --ssh-agent", "perdure up --env HF_TOKEN"),
    ),
    Verb(
        "shell",
        DEVELOP,
        "open a shell in the development container, or run a command there",
        "[-- COMMAND...]",
        (
            "perdure shell",
            "perdure shell -- nvidia-smi",
            "perdure shell --root -- apt-get install -y tree",
        ),
    ),
    Verb(
        "stop",
        DEVELOP,
        "stop the development container; what is in it stays",
        "",
        ("perdure stop",),
    ),
    Verb(
        "down",
        DEVELOP,
        "remove the development container (asks if something would be lost)",
        "",
        ("perdure down",),
    ),
    Verb(
        "sync",
        MOVE,
        "keep the code on a host as it is here; notebooks come back",
        "[status | stop]",
        (
            "perdure sync --on gpubox",
            "perdure sync --watch --on gpubox",
            "perdure sync status --on gpubox",
        ),
    ),
    Verb(
        "push",
        MOVE,
        "bring code, data, notebooks or results to a host or a bucket",
        "code|data|notebooks|results|all [JOB...] --on WHERE",
        (
            "perdure push data --on gpubox",
            "perdure push data --on gpubox --dry-run",
            "perdure push data --on s3://lab/cats",
        ),
    ),
    Verb(
        "pull",
        MOVE,
        "fetch code, data, notebooks or results from a host or a bucket",
        "code|data|notebooks|results|all [JOB...] --on WHERE",
        (
            "perdure pull results --on gpubox",
            "perdure pull results --checkpoints brave --on gpubox",
            "perdure pull data --on gs://lab/cats",
        ),
    ),
    Verb(
        "interrupt",
        STOP,
        "ask a job to save and stop; `resume` goes on from there",
        "JOB...",
        ("perdure interrupt @last",),
    ),
    Verb(
        "resume",
        STOP,
        "go on with an interrupted job",
        "JOB",
        ("perdure resume @last", "perdure resume -d brave"),
    ),
    Verb(
        "kill",
        STOP,
        "end jobs for good, and within seconds",
        "JOB... | --all",
        ("perdure kill brave", "perdure kill --all --yes"),
    ),
    Verb(
        "recover",
        STOP,
        "resume the jobs that were running when the machine went down",
        "[JOB...]",
        ("perdure recover",),
    ),
    Verb(
        "clean",
        STOP,
        "delete run folders of jobs that have ended, or what lies elsewhere (asks first)",
        "code|data|notebooks|results|all [JOB...]",
        (
            "perdure clean results",
            "perdure clean results --older-than 30d --yes",
            "perdure clean data --on gpubox",
            "perdure clean all --on s3://lab/cats --dry-run",
        ),
    ),
    Verb(
        "ps",
        LOOK,
        "list jobs",
        "",
        ("perdure ps", "perdure ps -a", "perdure ps -w", "perdure ps --json"),
    ),
    Verb(
        "show",
        LOOK,
        "tell everything that is known about a job",
        "JOB",
        ("perdure show @last", "perdure show --json @last"),
    ),
    Verb(
        "logs",
        LOOK,
        "print what a job, or the development container, has printed",
        "[JOB]",
        ("perdure logs @last", "perdure logs -f brave", "perdure logs -f"),
    ),
    Verb(
        "queue",
        LOOK,
        "list the jobs of a cluster's queue, everybody's",
        "",
        ("perdure queue --on lab", "perdure queue --on lab --mine --json"),
    ),
    Verb(
        "capacity",
        LOOK,
        "tell what a cluster has, and what of it is free",
        "",
        ("perdure capacity --on lab", "perdure capacity --on lab --json"),
    ),
    Verb(
        "open",
        LOOK,
        "open the run folder of a job",
        "JOB",
        ("perdure open @last", "perdure open --no-browser brave"),
    ),
    Verb(
        "jupyter",
        SERVE,
        "open JupyterLab, with a kernel in the project's environment",
        "",
        ("perdure jupyter", "perdure jupyter --on gpubox", "perdure jupyter --stop"),
    ),
    Verb(
        "tensorboard",
        SERVE,
        "open TensorBoard over what all jobs log, live",
        "",
        ("perdure tensorboard", "perdure tensorboard --on gpubox --no-browser"),
    ),
    Verb(
        "files",
        SERVE,
        "open results and data in the browser",
        "",
        ("perdure files", "perdure files --on gpubox --write"),
    ),
    Verb(
        "services",
        SERVE,
        "list what is open on all targets, or stop it",
        "",
        ("perdure services", "perdure services --stop all"),
    ),
    Verb(
        "drill",
        PROVE,
        "interrupt a task many times over, and prove that its result stays the same",
        "TASK [-- the task's own arguments]",
        ("perdure drill train -n 20 --self-test", "perdure drill train -n 5 -- --epochs 2"),
    ),
    Verb(
        "rerun",
        PROVE,
        "run a job again from what was recorded, and compare the results",
        "JOB",
        ("perdure rerun @last",),
    ),
    Verb(
        "why",
        PROVE,
        "name what differs between two jobs",
        "A B",
        ("perdure why brave calm", "perdure why --json brave @last"),
    ),
    Verb(
        "lock",
        SETUP,
        "resolve the project's environment into its lock",
        "",
        ("perdure lock",),
    ),
    Verb(
        "add",
        SETUP,
        "declare packages, and bring the lock up to date",
        "PACKAGE...",
        (
            "perdure add pandas 'scipy>=1.10'",
            "perdure add --dev black",
            "perdure add --apt runtime libgl1",
        ),
    ),
    Verb(
        "remove",
        SETUP,
        "declare packages no more, and bring the lock up to date",
        "PACKAGE...",
        ("perdure remove pandas", "perdure remove --apt runtime libgl1"),
    ),
    Verb(
        "targets",
        SETUP,
        "list where jobs can run, and ask each what it has",
        "[TARGET...]",
        ("perdure targets", "perdure targets --check", "perdure targets --disconnect gpubox"),
    ),
    Verb(
        "doctor",
        SETUP,
        "look at what a machine has of what perdure needs, and name the remedies",
        "[TARGET]",
        ("perdure doctor", "perdure doctor gpubox", "perdure doctor --json"),
    ),
    Verb(
        "env",
        SETUP,
        "tell what the environment is made of, or what differs between two",
        "show | diff A B",
        ("perdure env show", "perdure env diff HEAD~1 lock", "perdure env diff @last installed"),
    ),
    Verb(
        "build",
        SETUP,
        "build the project's image where it is not there yet, and print its tag",
        "[runtime | dev]",
        (
            "perdure build",
            "perdure build dev --variant cuda",
            "perdure build --pegged --push registry.lab:5000",
            "perdure build --explain",
        ),
    ),
    Verb(
        "ship",
        SETUP,
        "bring an image to another engine, a registry or a file: only what is missing there",
        "[IMAGE | runtime | dev] --to WHERE",
        (
            "perdure ship --to gpubox",
            "perdure ship dev --to ssh://me@gpubox",
            "perdure ship --to registry.lab:5000/cats",
            "perdure ship perdure/cats:tag --to cats.sqfs",
        ),
    ),
    Verb(
        "eject",
        SETUP,
        "write plain files that build and run the images without perdure",
        "dockerfile|compose|devcontainer",
        ("perdure eject compose", "perdure eject devcontainer --force"),
    ),
    Verb(
        "freeze",
        SETUP,
        "declare what was installed by hand, and bring the lock up to date (asks first)",
        "",
        ("perdure freeze --explain", "perdure freeze --yes", "perdure freeze --from container"),
    ),
    Verb(
        "completion",
        SETUP,
        "print a completion script for a shell",
        "bash|zsh|tcsh",
        (
            "perdure completion bash > ~/.local/share/bash-completion/completions/perdure",
            "perdure completion zsh > ~/.zfunc/_perdure",
        ),
    ),
)

USAGE = "perdure [-v] [--debug] VERB [options] [TASK [the task's own arguments, untouched]]"

GLOBAL_OPTIONS = (
    ("-h, --help", "show this, or with a verb the verb's own help"),
    ("-v, --verbose", "tell more"),
    ("--debug", "show the traceback of an error (also: PERDURE_DEBUG=1)"),
    ("--version", "show the version"),
)


def find_verb(name: str) -> Verb | None:
    """Return the verb of that name, or None."""
    return next((verb for verb in VERBS if verb.name == name), None)


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
