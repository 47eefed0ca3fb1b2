"""The second edition of the embedded model, which is built by `memrl tiny build --edition 2` and does not ship yet."""
