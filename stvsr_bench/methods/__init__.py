"""Methods: the base class, the baselines, cascades and outputs made elsewhere."""
