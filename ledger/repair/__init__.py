"""Damaged files of a ledger: set aside, restored from what is left."""
