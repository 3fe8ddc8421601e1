"""What every process of ours needs and no domain has a word for: clocks, ids, tasks, telemetry, settings."""
