"""A Lightning training, under the name that LIGHTNING_NAME gives, with the options in OPTIONS."""

from __future__ import annotations

import importlib
import json
import os
import warnings

import torch
import torchmetrics

import perdure
from perdure.lightning import PerdureCallback
from tests.runtime.trainings.digits import Digits, network

warnings.filterwarnings("ignore")
L = importlib.import_module(os.environ.get("LIGHTNING_NAME", "lightning.pytorch"))
OPTIONS = json.loads(os.environ.get("OPTIONS", "{}"))
WORKERS = int(os.environ.get("WORKERS", "0"))


class Classifier(L.LightningModule):  # type: ignore[name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"unsupported": object()}, logger=False)
        self.network = network()
        self.accuracy = torchmetrics.classification.MulticlassAccuracy(10)
        self.seen = 0

    def on_train_epoch_start(self) -> None:
        self.log("seen", float(self.seen))

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        outputs = self.network(batch["images"])
        loss = torch.nn.functional.cross_entropy(outputs, batch["labels"])
        self.seen += len(outputs)
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.accuracy(outputs, batch["labels"])
        self.log("accuracy", self.accuracy, on_step=False, on_epoch=True)
        if index == 0:
            self.log("first", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor]) -> None:
        outputs = self.network(batch["images"])
        self.log("val_loss", torch.nn.functional.cross_entropy(outputs, batch["labels"]))

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["seen"] = self.seen

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        self.seen = int(str(checkpoint["seen"]))

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"},
        }


class Data(L.LightningDataModule):  # type: ignore[name-defined]
    def train_dataloader(self) -> object:
        return torch.utils.data.DataLoader(
            Digits(0, 310), batch_size=32, shuffle=True, num_workers=WORKERS
        )

    def val_dataloader(self) -> object:
        return torch.utils.data.DataLoader(Digits(310, 400), batch_size=45)


def main() -> None:
    torch.set_num_threads(1)
    run = perdure.start(seed=3, save_every=1000)
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[PerdureCallback(run), L.callbacks.EarlyStopping("val_loss", patience=9)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=run.outputs,
        **OPTIONS,
    )
    trainer.fit(Classifier(), datamodule=Data())
    print("end", run.step, trainer.global_step, trainer.current_epoch)


main()
