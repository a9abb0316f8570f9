"""What is measured: one file a metric, each a `torchmetrics.Metric` that reads features, never images.

The package imports nothing by itself, since torch and torchmetrics take seconds: import the module that is needed.
"""
