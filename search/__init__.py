"""HOW TRIALS ARE SCHEDULED: one Ray Tune run over all targets. The only folder that imports ray."""
