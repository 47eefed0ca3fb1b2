"""The bound of the logits that a learner holds at once, apart from torch: estimates ask for it too."""

SLICE_ELEMENTS = 2**26
"""Logits held at once; 256 MiB in float32."""
