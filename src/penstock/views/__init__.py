"""Layer 6: what people and programs look at. Every view is computed from the journal; none stores anything."""
