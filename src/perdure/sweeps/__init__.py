"""Sweeps: jobs made from axes, and the process that drives them."""
