"""The procedural world of pictures: scenes, their captions, and how they are drawn in each style."""
