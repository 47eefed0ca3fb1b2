"""An example of a package that brings its own source, reward part, credit mode, loss and tracker to memrl."""
