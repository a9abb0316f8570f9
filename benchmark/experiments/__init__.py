"""Experiments of many runs: campaigns, studies, attacks, and the prebuilt artefacts of `mini`."""
