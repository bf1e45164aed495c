"""HOW TRIALS ARE SCHEDULED: one Ray Tune run over all targets. Only `search/tune/` imports ray."""
