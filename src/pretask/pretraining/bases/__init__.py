"""Published ways to draw two views of an image together: one file each, losses and heads from `lightly`."""
