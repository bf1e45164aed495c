"""Photos: decoder, cache, near-duplicates, statistics."""
