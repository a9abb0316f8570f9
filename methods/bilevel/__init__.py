"""`bilevel`: restores the pruned model (lower level) and erases the concept (upper level) in the same training."""
