"""WHAT PEOPLE LOOK AT: the ledger, shown. Nothing here is in a trial's way, and nothing here is the truth."""
