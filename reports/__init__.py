"""What people look at: pages about a ledger, an ensemble and the photos, and what each setting did to the score."""
