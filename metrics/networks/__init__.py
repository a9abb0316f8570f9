"""Published networks that read pictures, rebuilt so that their published weights fit key by key."""
