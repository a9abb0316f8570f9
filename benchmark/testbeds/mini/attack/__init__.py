"""Adversarial prompts that produce mini's emblem without naming it, by two published attacks on mini's text tower.

They measure how robustly the emblem was erased, and have an effect in this picture world only.
"""
