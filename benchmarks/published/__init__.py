"""Thirty competitions as they are published, drawn small: layout, sample submission and grader."""
