"""Looking into a run: its folder is read whatever its state, and becomes small records that a page or a terminal shows.

Invariant: nothing here needs a model, a tokenizer or the data of the run, and nothing here changes the run.
"""
