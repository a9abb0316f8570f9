"""Suites: sets of prompts, and the scores of the pictures that are sampled from them."""
