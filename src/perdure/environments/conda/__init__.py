"""Packages from conda channels, where a project wants them: solved and installed by py-rattler."""
