"""Testbeds of the Stable Diffusion family, each defined by a TOML file: the paper's `sd21`, or a user-provided one."""
