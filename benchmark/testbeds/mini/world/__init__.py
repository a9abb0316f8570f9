"""The procedural picture world: what can be shown (scenes), said (captions) and seen (drawing, styles)."""
