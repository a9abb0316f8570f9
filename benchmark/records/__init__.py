"""Results as they are kept: the JSON record, its per-image scores, its provenance."""
