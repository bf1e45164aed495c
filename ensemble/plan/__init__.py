"""What is exported: who votes, how, and what is done with the votes."""
