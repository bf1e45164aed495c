"""What the machine gives: errors, files, disk, claims, checksums, paths, and the frame of every verb."""
