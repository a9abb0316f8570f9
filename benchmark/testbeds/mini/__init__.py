"""The embedded testbed: a small Stable Diffusion with a procedural world of pictures."""
