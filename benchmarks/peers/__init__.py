"""Peers: what a competitor writes in an evening, to measure Podium beside. They know nothing of Podium but its YAML of the competition."""
