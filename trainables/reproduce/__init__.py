"""A trial trained again: PASS, or the ingredient that differs."""
