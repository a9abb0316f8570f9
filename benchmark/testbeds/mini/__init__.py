"""The embedded testbed: a small but true Stable Diffusion in a procedural picture world."""
