"""Sends losses, scores and pictures of runs to TensorBoard, Weights & Biases or trackio, with accelerate's trackers."""
