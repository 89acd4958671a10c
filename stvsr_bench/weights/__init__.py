"""Where parameters come from: channels, the cache, restricted readers, tensor hashes."""
