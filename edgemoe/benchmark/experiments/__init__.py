"""What was tried for local expert and gate, each trial a command; docs/experiments.md has the table."""
