"""The fault bench: a search that is killed, starved and damaged on purpose."""
