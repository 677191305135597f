"""Proof that a training carries on: interrupt it in every way, compare what comes out."""
