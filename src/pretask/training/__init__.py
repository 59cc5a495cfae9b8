"""Configuration, the loop, checkpoints, schedules.

Modules are imported by their own names, so that reading a configuration does not import torch.
"""
