"""What a stack tells before anything is unfolded."""
