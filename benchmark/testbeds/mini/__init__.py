"""Testbed `mini`, shipped with the code: a small Stable Diffusion trained on pictures of a procedural generator."""
