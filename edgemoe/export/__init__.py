"""What leaves edgemoe for other runtimes."""
