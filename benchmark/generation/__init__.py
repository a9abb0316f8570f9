"""Pictures of models and the features that networks see in them, a shard at a time."""
