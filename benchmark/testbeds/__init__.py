"""Testbeds: `mini`, Stable Diffusion as defined in a TOML file, and its rehearsal with random weights."""
