"""Frozen values without input or output: projects, settings, jobs."""
