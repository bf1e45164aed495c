"""Predictions from outside: a team-mate's files that vote like trials."""
