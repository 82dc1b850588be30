"""What a run costs: counts of a device, prices with their grades, and what a meter says."""
