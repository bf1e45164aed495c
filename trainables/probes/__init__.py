"""Probes: a frozen backbone whose features are computed once, and last layers that are fitted on them in one step."""
