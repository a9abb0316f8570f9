"""Prompts that bring mini's emblem without asking for it, found by two published ideas against mini's own text tower.

They exist to measure how firmly the emblem was forgotten, and work in this picture world alone.
"""
