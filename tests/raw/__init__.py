"""A small hand-made raw input in the published format of each source: a module named after it, with `write(folder)`.

`UNREAD` in such a module names files that a source is known by and does not read; `OPTIONS` are those without which
a source does not end.
"""
