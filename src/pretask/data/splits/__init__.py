"""Who trains, who selects, who tests: splits of images and of classes."""
