"""Jobs: submitted, started, followed, interrupted, recovered, compared, cleaned up."""
