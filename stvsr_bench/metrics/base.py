"""CONTRACT SKETCH - to be written out in full by the metrics part."""
