"""The only folder that imports ray: one Tune run per study."""
