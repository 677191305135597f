"""Where a command can be run; `local` is the one module that starts processes."""
