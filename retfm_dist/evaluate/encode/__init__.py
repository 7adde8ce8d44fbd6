"""From photographs to features: the models that are judged, and the cache of what they compute."""
