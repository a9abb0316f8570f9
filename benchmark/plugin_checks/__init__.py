"""What `bench doctor` tries of methods, objectives and prunings, on a miniature with random weights."""
