"""Who votes: candidates in, voters out."""
