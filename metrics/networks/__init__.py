"""Published vision networks, rebuilt so that their published weights can be loaded key by key."""
