"""Configurations: sections of keys, their files, published recipes."""
