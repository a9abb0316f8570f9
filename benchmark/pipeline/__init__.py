"""Runs whole evaluations: prunes, trains, samples, scores and writes records."""
