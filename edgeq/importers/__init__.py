"""Foreign checkpoints: one format, one file."""
