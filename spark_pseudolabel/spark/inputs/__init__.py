"""Everything a run reads, opened, checked and split before any model is fitted."""
