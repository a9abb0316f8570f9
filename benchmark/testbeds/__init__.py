"""Testbeds: `mini`, Stable Diffusion from a TOML file, and its rehearsal with random weights."""
