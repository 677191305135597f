"""Where jobs are run; jobs know the protocol only, and targets do not know each other."""
