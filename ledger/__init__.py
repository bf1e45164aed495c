"""WHAT HAPPENED: paths, records, events, claims and predictions as plain files. No torch, no ray."""
