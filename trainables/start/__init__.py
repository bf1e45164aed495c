"""Start weights: those of another trial, and published ones that come as packages."""
