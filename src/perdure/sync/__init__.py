"""A project's code on another host, kept as it is here; a few kinds of files come back."""
