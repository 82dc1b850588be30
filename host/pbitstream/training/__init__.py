"""Training on the substrate by equilibrium propagation, from readouts only."""
