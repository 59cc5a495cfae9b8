"""Images: where they lie, how they are decoded and fitted, what they are like."""
