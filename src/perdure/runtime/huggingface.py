"""Makes a training by Hugging Face's Trainer carry on exactly: `carry_on(trainer, run)`.

A callback passes a boundary before each step, when logging, evaluation and saving after the step
before are over. Transformers hands its callbacks no trainer, and enters an epoch in the middle only
with a checkpoint folder of its own: so `carry_on` is given the trainer, and replaces three of its
methods on that one object. Tested with transformers 5.
"""

# What a step depends on is in part private in Trainer: the loss gathered since it was last logged.
# ruff: noqa: SLF001

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Mapping, Optional

from perdure.runtime import guest, loader
from perdure.runtime.faults import MisuseError
from perdure.runtime.run import Run

if TYPE_CHECKING:
    from transformers import (
        Trainer,
        TrainerCallback,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )
else:
    _transformers = importlib.import_module("transformers")
    Trainer, TrainerCallback = _transformers.Trainer, _transformers.TrainerCallback

State = Dict[str, object]
_GATHERED = (
    "_tr_loss",
    "_total_loss_scalar",
    "_globalstep_last_logged",
    "_initial_global_step",
    "_initial_num_input_tokens_seen",
    "current_flos",
)
# Facts about the process, not about the training.
_NOT_KEPT = ("is_local_process_zero", "is_world_process_zero", "stateful_callbacks")
# Says to `_run_epoch` that it resumes; no folder of this name is ever read.
_RESUMED = "perdure"


def carry_on(trainer: "Trainer", run: Run) -> None:
    """Make this trainer's training part of the run: call it before `trainer.train()`.

    Saves of Trainer's own are left out, except where it keeps its best model.

    Raises:
        MisuseError: the trainer has processes that the run does not know of.
    """
    visitor = guest.Guest(run)
    visitor.check_world(trainer.args.world_size)
    course = Course(visitor, trainer)
    trainer.get_train_dataloader = course.feed
    trainer._run_epoch = course.run_epoch
    trainer._load_rng_state = _restored_already
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ == "JITCheckpointCallback":
            trainer.remove_callback(callback)
    trainer.add_callback(PerdureCallback(visitor, course))


def _restored_already(_checkpoint: Optional[str]) -> None:
    """In the place of Trainer's method: the run has put the generators back."""


class PerdureCallback(TrainerCallback):
    """Passes the boundaries; made by `carry_on`."""

    def __init__(self, visitor: guest.Guest, course: "Course") -> None:
        self._guest = visitor
        self._course = course

    def on_train_begin(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_kwargs: object,
    ) -> None:
        """Restore: the trainer has made its optimizer by now."""
        del args, state
        self._course.begin()
        if self._guest.complete:
            control.should_training_stop = True

    def on_step_begin(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_kwargs: object,
    ) -> None:
        """Pass the boundary before this step."""
        del args, state, control
        self._course.pass_boundary()

    def on_step_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_kwargs: object,
    ) -> None:
        """Leave saving to the run."""
        del state
        if not args.load_best_model_at_end:
            control.should_save = False

    def on_epoch_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_kwargs: object,
    ) -> None:
        """End the epoch's last step, unless the epoch was over before this attempt."""
        self.on_step_end(args, state, control)
        self._course.end_epoch()

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: Optional[Mapping[str, object]] = None,
        **_kwargs: object,
    ) -> None:
        """Append a row of metrics; how long things took is no result."""
        del args, state, control
        self._guest.log({k: v for k, v in _untimed(logs or {}).items() if k != "epoch"})

    def on_train_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_kwargs: object,
    ) -> None:
        """Make the end durable."""
        del args, state, control
        self._guest.finish()


class Feed:
    """The training's batches in the run's order; what Trainer takes for its DataLoader."""

    def __init__(self, batches: loader.Loader, begins_at: Callable[[], int]) -> None:
        self._batches = batches
        self._begins_at = begins_at
        self.taken: List[object] = []

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[object]:
        items, _ = self._batches.begin(self._begins_at())
        for item in items:
            self.taken.append(item)
            yield item


@contextlib.contextmanager
def _nothing_skipped() -> Iterator[None]:
    """Let Trainer count from the middle of an epoch, and take all that our feed gives."""
    module = importlib.import_module("transformers.trainer")
    skip = module.skip_first_batches
    vars(module)["skip_first_batches"] = lambda given, _count: given
    try:
        yield
    finally:
        vars(module)["skip_first_batches"] = skip


class Course:
    """The trainer's way through its epochs, and the state that goes with a place on it."""

    def __init__(self, visitor: guest.Guest, trainer: "Trainer") -> None:
        self._guest = visitor
        self._trainer = trainer
        self._make_loader = trainer.get_train_dataloader
        self._run_epoch = trainer._run_epoch
        self._feed: Optional[Feed] = None
        self._epoch = 0
        self._entered = False
        self._window = 0

    # -- the loop -----------------------------------------------------------------------------

    def feed(self) -> Feed:
        """Return the training's data; in the place of `get_train_dataloader`.

        Raises:
            MisuseError: its order is the trainer's own in a way that cannot be taken over.
        """
        trainer = self._trainer
        made = self._make_loader()
        sampler = trainer._get_train_sampler(made.dataset)
        if sampler is None:
            raise MisuseError(
                "the training's data set has no length",
                "turn the stream into a data set with __getitem__ and __len__",
            )
        chosen = guest.plan(
            sampler,
            len(made.dataset),
            trainer._train_batch_size,
            drop_last=trainer.args.dataloader_drop_last,
        )
        options: State = {
            "collate_fn": made.collate_fn,
            "num_workers": trainer.args.dataloader_num_workers,
            "pin_memory": trainer.args.dataloader_pin_memory,
            "prefetch_factor": trainer.args.dataloader_prefetch_factor,
        }
        batches = loader.Loader(self._guest.run, guest.SOURCE, made.dataset, chosen, options)
        self._feed = Feed(batches, self._guest.ahead)
        return self._feed

    def begin(self) -> None:
        """Track the training, and restore it.

        Raises:
            MisuseError: it is the second training in this run.
        """
        trainer = self._trainer
        self._guest.run.track(
            model=trainer.model,
            optimizer=trainer.optimizer,
            schedule=trainer.lr_scheduler,
            trainer=(self.state, self.put_state),
        )
        scaler = getattr(trainer.accelerator, "scaler", None)
        if scaler is not None:
            self._guest.run.track(scaler=scaler)
        self._guest.restore()
        if self._guest.complete:
            trainer._tr_loss -= trainer._tr_loss  # it is in the sum already

    def run_epoch(self, **given: object) -> None:
        """Run an epoch from where the run is in it; in the place of `_run_epoch`."""
        self._epoch = int(str(given["epoch"]))
        self._entered = False
        if self._guest.complete or self._epoch < self._guest.run.epoch:
            return
        done = self._guest.ahead()
        if done:
            given["resume_from_checkpoint"] = _RESUMED
            given["epochs_trained"] = self._epoch
            given["steps_trained_in_current_epoch"] = done
        self._guest.prepare(self._epoch)
        with _nothing_skipped():
            self._run_epoch(**given)

    def pass_boundary(self) -> None:
        """Before each step: the one before is over, with all that follows it."""
        if not self._entered:
            self._entered = True
            self._guest.enter(self._epoch)
        else:
            self._guest.used(self._window)
            self._guest.step()
        self._window = self._trainer.current_gradient_accumulation_steps
        assert self._feed is not None
        self._guest.hand_out(self._feed.taken)
        self._feed.taken.clear()

    def end_epoch(self) -> None:
        """The epoch's last step is over."""
        if self._entered:
            self._guest.used(self._window)
            self._guest.step(end=True)
            self._guest.leave()

    # -- state --------------------------------------------------------------------------------

    def state(self) -> State:
        """Return Trainer's own state: its counters and history, and its callbacks'."""
        trainer = self._trainer
        fields = dataclasses.fields(trainer.state)
        kept = {f.name: getattr(trainer.state, f.name) for f in fields if f.name not in _NOT_KEPT}
        best, folder = trainer.state.best_model_checkpoint, trainer.args.output_dir
        # Without the folder: the same training elsewhere is in the same state.
        kept["best_model_checkpoint"] = best and os.path.relpath(best, folder)
        kept["log_history"] = [_untimed(row) for row in trainer.state.log_history]
        gathered = {name: getattr(trainer, name) for name in _GATHERED}
        callbacks = [callback.state() for callback in self._lasting()]
        return {"state": kept, "gathered": gathered, "callbacks": callbacks}

    def put_state(self, saved: object) -> None:
        """Put it back."""
        assert isinstance(saved, dict)
        for name, value in saved["state"].items():
            setattr(self._trainer.state, name, value)
        best = saved["state"]["best_model_checkpoint"]
        if best:
            folder = self._trainer.args.output_dir
            self._trainer.state.best_model_checkpoint = os.path.join(folder, best)
        for name, value in saved["gathered"].items():
            setattr(self._trainer, name, value)
        for callback, kept in zip(self._lasting(), saved["callbacks"]):
            for name, value in kept["attributes"].items():
                setattr(callback, name, value)

    def _lasting(self) -> "List[TrainerCallback]":
        """Return the callbacks that have a state, such as EarlyStoppingCallback."""
        found = self._trainer.callback_handler.callbacks
        return [one for one in found if callable(getattr(one, "state", None))]


def _untimed(row: Mapping[str, object]) -> State:
    """Return a row without what differs from one machine and day to the next."""
    return {k: v for k, v in row.items() if not k.endswith(("_runtime", "_per_second"))}
