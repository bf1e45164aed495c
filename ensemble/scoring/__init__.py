"""What a choice is worth: honest scores, gains, paired comparisons."""
