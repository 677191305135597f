"""The locked environment of a project: resolved and installed by uv."""
