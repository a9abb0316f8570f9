"""Testbed `sd21-rehearsal`: Stable Diffusion 2.1 in full size with random weights, to see what a machine can do."""
