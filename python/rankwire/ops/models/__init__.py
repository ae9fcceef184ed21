"""Models of published theory: from measurements to what would be. Pure, and need nothing else."""
