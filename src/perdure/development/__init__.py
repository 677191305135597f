"""The development container: a project's image, its working tree in it, and a shell."""
