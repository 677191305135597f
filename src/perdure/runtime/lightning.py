"""A callback that makes a Lightning training carry on exactly: `PerdureCallback(run)`.

It gives the trainer data in the run's own order, passes a boundary where the trainer asks for its
next batch (the step, its hooks and a validation after it are over by then), and restores, at that
very place, all that the step depends on: Lightning's own restart cannot enter an epoch in the
middle without repeating or leaving out something. Tested with Lightning 2.6, as
`lightning.pytorch` and as `pytorch_lightning`.
"""

# The loops' progress and the accumulated metrics are private in Lightning, and part of the state.
# ruff: noqa: SLF001

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Dict, Iterator, List, Mapping, Optional

from perdure.runtime import guest, libraries, loader
from perdure.runtime.faults import MisuseError
from perdure.runtime.run import Run

State = Dict[str, object]


def _lightning() -> ModuleType:
    """Return whichever of its two names the training has imported."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        if name in sys.modules:
            return sys.modules[name]
    return importlib.import_module("lightning.pytorch")


if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers import Logger
else:
    _found = _lightning()
    Callback = _found.Callback
    Logger = importlib.import_module(f"{_found.__name__}.loggers").Logger


class Rows(Logger):
    """Writes what the training logs to the run folder, each row once."""

    def __init__(self, visitor: guest.Guest) -> None:
        super().__init__()
        self._guest = visitor

    @property
    def name(self) -> str:
        """The name of this logger."""
        return "perdure"

    @property
    def version(self) -> int:
        """The attempt."""
        return self._guest.attempt.generation

    def log_hyperparams(self, *_args: object, **_kwargs: object) -> None:
        """Nothing: a job's arguments are in its job.json."""

    def log_metrics(self, metrics: Mapping[str, float], step: Optional[int] = None) -> None:
        """Append a row; `step` is the run's own."""
        del step
        self._guest.log({name: value for name, value in metrics.items() if name != "epoch"})


class PerdureCallback(Callback):
    """Give this to a Trainer among its callbacks: `Trainer(callbacks=[PerdureCallback(run)])`."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._guest = guest.Guest(run)
        self._feed: Optional[Feed] = None

    def setup(self, trainer: "Trainer", pl_module: "LightningModule", stage: str) -> None:
        """Take saving and the signals out of the trainer's hands."""
        del pl_module
        if stage != "fit":
            return
        self._guest.check_world(trainer.world_size)
        trainer.callbacks = [one for one in trainer.callbacks if not _only_resumes(one)]
        trainer.loggers = [*trainer.loggers, Rows(self._guest)]
        trainer._signal_connector.register_signal_handlers = _leave_signals

    def on_fit_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Track the training, restore it, and put the run's data in the place of the trainer's."""
        if self._feed is not None:
            raise MisuseError("a second `fit` in one run", "one run holds one training")
        self._feed = Feed(self._guest, trainer)
        self._guest.run.track(
            model=pl_module,
            trainer=(self._feed.trainer_state, self._feed.put_trainer_state),
            loops=(trainer.fit_loop.state_dict, self._feed.put_progress),
            logged=(self._feed.logged, self._feed.put_logged),
            metrics=(self._feed.metrics, self._feed.put_metrics),
        )
        self._guest.restore()
        if self._guest.replaying or self._guest.complete:
            trainer.num_sanity_val_steps = 0
        trainer.fit_loop._data_source = Source(trainer.fit_loop._data_source, self._feed)

    def on_train_epoch_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """End the epoch's last step."""
        del trainer, pl_module
        assert self._feed is not None
        self._feed.end_epoch()

    def on_fit_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Make the end durable."""
        del trainer, pl_module
        self._guest.finish()


def _leave_signals() -> None:
    """In the place of Lightning's handlers, which would end the training inside an epoch."""


def _only_resumes(callback: object) -> bool:
    """Say whether a callback saves only to resume, which the run does."""
    kind = type(callback).__name__
    if kind == "ModelCheckpoint":
        callback.save_last = None  # type: ignore[attr-defined]
        monitor, kept = getattr(callback, "monitor", None), getattr(callback, "save_top_k", 1)
        return monitor is None and kept in (0, 1)
    return kind == "OnExceptionCheckpoint"


class Source:
    """Where the trainer asks for its training data: wraps what is given in the run's order."""

    def __init__(self, given: object, feed: "Feed") -> None:
        self._given = given
        self._feed = feed

    def __getattr__(self, name: str) -> object:
        return getattr(self._given, name)

    def dataloader(self) -> "Feed":
        """Return the run's data."""
        self._feed.adopt(self._given.dataloader())  # type: ignore[attr-defined]
        return self._feed


class Feed:
    """The training's batches, and the state that goes with a place among them."""

    def __init__(self, visitor: guest.Guest, trainer: "Trainer") -> None:
        self._guest = visitor
        self._trainer = trainer
        self._loader: Optional[loader.Loader] = None
        self._out = False
        self._progress: Optional[Mapping[str, object]] = None

    # -- batches ------------------------------------------------------------------------------

    def adopt(self, given: object) -> None:
        """Take over the data set and options of the user's loader."""
        self._loader = guest.adopt(self._guest.run, given)

    def __len__(self) -> int:
        assert self._loader is not None
        return len(self._loader)

    def __iter__(self) -> Iterator[object]:
        assert self._loader is not None
        arriving = self._guest.replaying
        start = self._guest.enter(self._trainer.current_epoch)
        if arriving:
            self._arrive(start)
        items, _ = self._loader.begin(start)
        while True:
            if self._out:
                self._end_batch()
            try:
                item = next(items)
            except StopIteration:
                return
            self._out = True
            self._guest.hand_out(item)
            yield item

    def _end_batch(self) -> None:
        self._out = False
        if self._guest.used(1) % self._trainer.accumulate_grad_batches == 0:
            self._guest.step()

    def end_epoch(self) -> None:
        """The batch handed out last is used, and no other will be asked for."""
        if self._out:
            self._out = False
            self._guest.used(1)
            self._guest.step(end=True)
        self._guest.leave()

    def _arrive(self, start: int) -> None:
        """Give the loops exactly the progress they had, now that they are where they were."""
        if self._progress is not None:
            _assign(self._trainer.fit_loop, self._progress)
        self._trainer.fit_loop._data_fetcher.fetched = start

    # -- progress -----------------------------------------------------------------------------

    def put_progress(self, saved: object) -> None:
        """Have the loops begin the interrupted epoch from its top, as if it were a new one."""
        assert isinstance(saved, dict)
        self._progress = saved
        _assign(self._trainer.fit_loop, {**saved, "epoch_progress": _not_begun(saved)})

    # -- what Lightning's own checkpoints hold --------------------------------------------------

    def trainer_state(self) -> State:
        """Return optimizers, schedules, scaler, callbacks, and what the user's hooks add."""
        dumped: State = self._trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        known = _apart(self._trainer)
        return {name: value for name, value in dumped.items() if name not in known}

    def put_trainer_state(self, saved: object) -> None:
        """Put it back by Lightning's own means."""
        assert isinstance(saved, dict)
        connector = self._trainer._checkpoint_connector
        weights = self._trainer.strategy.lightning_module_state_dict()
        connector._loaded_checkpoint = {**saved, "state_dict": weights}
        connector.restore_datamodule()
        connector.restore_model()
        connector.restore_callbacks()
        connector.restore_precision_plugin_state()
        connector.restore_optimizers_and_schedulers()
        connector._loaded_checkpoint = {}

    # -- metrics ------------------------------------------------------------------------------

    def logged(self) -> State:
        """Return what `self.log` has gathered in this epoch, and the values callbacks look at."""
        connector = self._trainer._logger_connector
        results = self._trainer.fit_loop.epoch_loop._results
        return {
            "first": connector._first_loop_iter,
            "hook": connector._current_fx,
            "callback": dict(connector._callback_metrics),
            "logger": dict(connector._logged_metrics),
            "bar": dict(connector._progress_bar_metrics),
            "stop": self._trainer.should_stop,
            "values": [_gathered(one) for one in results.values() if not one.has_reset],
        }

    def put_logged(self, saved: object) -> None:
        """Put it back, values that are not logged again in this epoch too."""
        assert isinstance(saved, dict)
        connector = self._trainer._logger_connector
        for kept in saved["values"]:
            self._log_again(kept)
        connector._first_loop_iter, connector._current_fx = saved["first"], saved["hook"]
        connector._callback_metrics = saved["callback"]
        connector._logged_metrics = saved["logger"]
        connector._progress_bar_metrics = saved["bar"]
        self._trainer.should_stop = saved["stop"]

    def _log_again(self, kept: Mapping[str, Mapping[str, object]]) -> None:
        """Have one value known under its terms, then give it the sums it had."""
        module, how = self._trainer.lightning_module, dict(kept["how"])
        attribute = how["metric_attribute"]
        torch = libraries.torch()
        assert torch is not None
        results = self._trainer.fit_loop.epoch_loop._results
        nothing = torch.zeros((), device=module.device)
        results.log(
            value=module.get_submodule(attribute) if attribute else nothing,
            sync_dist_fn=self._trainer.strategy.reduce,
            batch_size=1,
            **how,
        )
        metric = results[f"{how['fx']}.{how['name']}"]
        for name, value in kept["sums"].items():
            setattr(metric, name, value)
        metric._computed = None

    def metrics(self) -> State:
        """Return the state of the module's torchmetrics, which is in no state_dict."""
        return {
            name: {"state": dict(metric.metric_state), "updates": metric._update_count}
            for name, metric in self._trainer.lightning_module.named_modules()
            if hasattr(metric, "metric_state")
        }

    def put_metrics(self, saved: object) -> None:
        """Put it back."""
        assert isinstance(saved, dict)
        for name, metric in self._trainer.lightning_module.named_modules():
            if name in saved:
                for attribute, value in saved[name]["state"].items():
                    setattr(metric, attribute, value)
                metric._update_count = saved[name]["updates"]
                metric._computed = None


_TERMS = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph")
_SUMS = ("value", "cumulated_batch_size", "_update_count", "_forward_cache")


def _gathered(metric: object) -> State:
    """Return the terms under which a value is logged, and its sums; a torchmetric has its own."""
    meta = metric.meta  # type: ignore[attr-defined]
    how: State = {name: getattr(meta, name) for name in (*_TERMS, "metric_attribute")}
    how["reduce_fx"] = meta.reduce_fx.__name__
    how["sync_dist"], how["rank_zero_only"] = meta.sync.should, meta.sync.rank_zero_only
    names = _SUMS if metric.is_tensor else _SUMS[2:]  # type: ignore[attr-defined]
    return {
        "how": how,
        "sums": {one: getattr(metric, one) for one in names if hasattr(metric, one)},
    }


def _not_begun(saved: Mapping[str, object]) -> Dict[str, Dict[str, int]]:
    """Return the progress of epochs as it is before the one under way begins."""
    progress: Mapping[str, Mapping[str, int]] = saved["epoch_progress"]  # type: ignore[assignment]
    return {
        span: {**counts, "ready": counts["processed"], "started": counts["processed"]}
        for span, counts in progress.items()
    }


def _assign(loop: object, saved: Mapping[str, object], prefix: str = "") -> None:
    """Set the progress of a loop and those in it, without telling them that they restart."""
    loop._load_from_state_dict(dict(saved), prefix)  # type: ignore[attr-defined]
    for name, child in vars(loop).items():
        if hasattr(child, "_load_from_state_dict") and hasattr(child, "restarting"):
            _assign(child, saved, f"{prefix}{name}.")


def _apart(trainer: "Trainer") -> List[str]:
    """Return what of Lightning's checkpoint is tracked apart, or is an argument of the job."""
    arguments = [
        str(getattr(owner, f"CHECKPOINT_HYPER_PARAMS_{kind}", ""))
        for owner in (trainer.lightning_module, trainer.datamodule)
        for kind in ("NAME", "KEY", "TYPE")
    ]
    return ["state_dict", "loops", "epoch", "global_step", *arguments]
