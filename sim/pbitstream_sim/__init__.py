"""Simulation of the gateware: harness, benches and the simulated device."""
