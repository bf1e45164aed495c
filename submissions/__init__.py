"""WHAT IS HANDED IN: the competition's file, written and read with every check. No torch, no ray, no ensemble."""
