"""How far results can be relied on: certificates, measurements, labeled rows against the pool."""
