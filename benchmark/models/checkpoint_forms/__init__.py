"""Forms of checkpoint files: a LoRA, a single file of a whole model, or weights of the U-Net."""
