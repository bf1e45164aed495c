"""What is done with votes: calibration, class shares, offsets, assignment, stacking."""
