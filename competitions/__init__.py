"""WHAT IS ASKED: one YAML per competition; readers, checks, splits, the decode cache and the metrics."""
