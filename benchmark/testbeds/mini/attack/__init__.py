"""Adversarial prompts that produce mini's emblem without naming it, from two published attacks on its text encoder.

The emblem is a synthetic sign that stands in for nudity. The prompts measure how robustly it has been erased. They
affect no model except mini.
"""
