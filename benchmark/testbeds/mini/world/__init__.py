"""The procedural image generator: random scenes, their captions, and drawing in the style of each artist."""
