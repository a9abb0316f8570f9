"""Experiments with many runs: campaigns, studies, attacks, and the artefacts of `mini` that ship with the code."""
