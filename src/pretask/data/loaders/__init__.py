"""From images to augmented batches on the device."""
