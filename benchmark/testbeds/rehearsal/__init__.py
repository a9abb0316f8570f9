"""Testbed `sd21-rehearsal`: Stable Diffusion 2.1 at full size with random weights, to measure speed and memory."""
