"""Which views of a photo vote."""
