"""Jobs on preemptible machines: their state in a bucket, and what each provider is asked for."""
