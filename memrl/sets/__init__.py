"""Sets of streams: what is in them, and whether training and evaluation are kept apart."""
