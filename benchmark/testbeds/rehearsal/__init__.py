"""Testbed `sd21-rehearsal`: Stable Diffusion 2.1 in full size with random weights, to measure speed and memory."""
