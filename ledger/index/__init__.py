"""The local SQLite index of a ledger: it answers queries, and is rebuilt from the folders."""
