"""A training by Hugging Face's Trainer, with the arguments in OPTIONS."""

from __future__ import annotations

import json
import os
import warnings

import torch
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

import perdure
from perdure.huggingface import carry_on
from tests.runtime.trainings.digits import Digits, network

warnings.filterwarnings("ignore")
OPTIONS = json.loads(os.environ.get("OPTIONS", "{}"))


class Classifier(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = self.network(images)
        return {"loss": torch.nn.functional.cross_entropy(outputs, labels), "logits": outputs}


def main() -> None:
    torch.set_num_threads(1)
    run = perdure.start(seed=3, save_every=1000)
    arguments = TrainingArguments(
        **{
            "output_dir": str(run.outputs),
            "num_train_epochs": 3,
            "per_device_train_batch_size": 32,
            "eval_strategy": "epoch",
            "logging_steps": 3,
            "save_steps": 4,
            "report_to": [],
            "use_cpu": True,
            "disable_tqdm": True,
            "learning_rate": 1e-2,
            "metric_for_best_model": "eval_loss",
            "dataloader_pin_memory": False,
            **OPTIONS,
        }
    )
    trainer = Trainer(
        model=Classifier(),
        args=arguments,
        train_dataset=Digits(0, 310),
        eval_dataset=Digits(310, 400),
        callbacks=[EarlyStoppingCallback(9)],
    )
    carry_on(trainer, run)
    ended = trainer.train()
    print("end", run.step, trainer.state.global_step, ended.training_loss)


main()
