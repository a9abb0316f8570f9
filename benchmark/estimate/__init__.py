"""What a run will take before it starts: hours, memory and disk, from counted FLOPs and a device's speed. No torch."""
