"""What a project has besides its code, moved between this machine, other hosts and buckets."""
