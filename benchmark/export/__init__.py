"""Models as diffusers pipeline folders that load without this project."""
