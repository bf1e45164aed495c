"""Layouts of data sets: files as they were handed out -> manifest."""
