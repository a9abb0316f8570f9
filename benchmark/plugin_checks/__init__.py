"""The checks that `bench doctor` runs on methods, objectives and prunings, with a tiny U-Net of random weights."""
