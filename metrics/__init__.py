"""Metrics, a file each. Every metric is a `torchmetrics.Metric` over features, not over images.

The package itself imports nothing, because torch and torchmetrics take seconds to import. Import the module you need.
"""
