"""Studies over many writers: what personalization gives each of them, and what it costs everyone else."""
