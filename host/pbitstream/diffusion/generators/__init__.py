"""Models that draw images by relaxations of a device, one module per kind of model."""
