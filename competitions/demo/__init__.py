"""A competition that draws itself, with planted faults."""
