"""Trainings by Hugging Face's Trainer that carry on: `from perdure.huggingface import carry_on`."""

from perdure.runtime.huggingface import carry_on

__all__ = ["carry_on"]
