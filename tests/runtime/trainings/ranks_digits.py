"""Several ranks that train one network; AIM is `rank:step`, where that rank gets a SIGTERM.

`rank:+steps` counts from where this attempt began: how far an earlier one came is chance.
"""

from __future__ import annotations

import json
import os
import signal

import torch
import torch.distributed as dist

import perdure
from perdure.runtime import generation
from perdure.runtime.attempt import Interrupted
from tests.runtime.trainings.digits import Digits, network

AIM = os.environ.get("AIM", "")
EPOCHS = 3


def main() -> None:
    torch.set_num_threads(1)
    late = os.environ.get("START_FIRST") == "1"
    if not late:
        dist.init_process_group("gloo")
    run = perdure.start(seed=5, save_every=float(os.environ.get("SAVE_EVERY", "1000")))
    if late:
        dist.init_process_group("gloo")
    try:
        train(run)
    except Interrupted:
        tell(run, "interrupted")
        raise
    tell(run, "done")


def train(run: perdure.Run) -> None:
    model = network()
    # With its buckets as they are from the first step on: DDP would make others after that step,
    # and sums over three ranks depend on the bucket a gradient is in.
    parallel = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    optimizer = torch.optim.AdamW(parallel.parameters(), lr=1e-2)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Digits(0, 192), batch_size=8, shuffle=True)
    begun: int | None = None
    for _ in run.epochs(EPOCHS):
        for batch in loader:
            begun = run.step if begun is None else begun
            if AIM in (f"{run.rank}:{run.step}", f"{run.rank}:+{run.step - begun}"):
                os.kill(os.getpid(), signal.SIGTERM)
            outputs = parallel(batch["images"])
            loss = torch.nn.functional.cross_entropy(outputs, batch["labels"])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            run.log(loss=loss)
    # Not the running statistics, which each rank has of its own data.
    weights = torch.cat([value.detach().flatten() for value in model.parameters()])
    run.outputs.joinpath(f"weights-{run.rank}").write_text(repr(weights.double().sum().item()))


def tell(run: perdure.Run, how: str) -> None:
    """Leave behind where this rank has ended."""
    note = json.dumps({"rank": run.rank, "step": run.step, "how": how, "seed": run.seed})
    run.outputs.joinpath(f"end-{generation.newest(run.folder):06d}-{run.rank}").write_text(note)


main()
